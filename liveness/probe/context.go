package probe

import "context"

type contextKey struct{}

// NewContext returns a context that carries the registry.
func NewContext(ctx context.Context, reg *Registry) context.Context {
	return context.WithValue(ctx, contextKey{}, reg)
}

// FromContext returns the registry that ctx carries, and whether it carries one.
func FromContext(ctx context.Context) (*Registry, bool) {
	reg, _ := ctx.Value(contextKey{}).(*Registry)
	return reg, reg != nil
}

// UpdateFromContext calls [Registry.Update] on the registry that ctx carries. It does
// nothing if ctx carries none, so a library can report a status without a registry. It
// works after ctx has ended, too.
func UpdateFromContext(ctx context.Context, name string, status Status, cause error) {
	if reg, ok := FromContext(ctx); ok {
		reg.Update(name, status, cause)
	}
}
