package bus

import "sync"

// attachments are what packages on top of the bus keep with it.
type attachments struct {
	mu sync.Mutex
	m  map[any]any
}

// Attach returns what is kept with the bus under key, and what make returns when
// nothing is yet. It lets a package on top of the bus share something among all who
// use it on the same bus, such as one reader for many clients, without a global
// variable. key is of a type of the caller's own, as for a context's value; make must
// not call Attach. It works on a closed bus, too; Close does not touch what is kept.
func (b *Bus) Attach(key any, make func() any) any {
	a := &b.attached
	a.mu.Lock()
	defer a.mu.Unlock()
	if v, ok := a.m[key]; ok {
		return v
	}
	v := make()
	if a.m == nil {
		a.m = map[any]any{}
	}
	a.m[key] = v
	return v
}
