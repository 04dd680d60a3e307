package probe

import "context"

type contextKey struct{}

// NewContext returns a context that carries the registry to whatever is called
// with it.
func NewContext(ctx context.Context, reg *Registry) context.Context {
	return context.WithValue(ctx, contextKey{}, reg)
}

// FromContext returns the registry that ctx carries; false, and nil, if none.
func FromContext(ctx context.Context) (*Registry, bool) {
	reg, _ := ctx.Value(contextKey{}).(*Registry)
	return reg, reg != nil
}

// UpdateFromContext is [Registry.Update] on the registry that ctx carries, and
// does nothing if it carries none: code can tell its status without asking
// whether anybody listens. It works after ctx has ended, too.
func UpdateFromContext(ctx context.Context, name string, status Status, cause error) {
	if reg, ok := FromContext(ctx); ok {
		reg.Update(name, status, cause)
	}
}
