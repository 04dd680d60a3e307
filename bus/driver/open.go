package driver

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Opener returns a transport for a URL. It gets the parameters that it supports from u, and must
// return the error of u.Done. It returns an error at once for a mistake of the caller. It must not
// return an error because the broker is not available.
type Opener func(ctx context.Context, u *URL) (Transport, error)

var openers = struct {
	sync.RWMutex
	m map[string]Opener
}{m: map[string]Opener{}}

// Register makes a URL scheme available to bus.Open and [Open]. The package of a transport calls
// it in init, so a program only has to import the package. Register panics if the scheme is
// registered already.
func Register(scheme string, open Opener) {
	openers.Lock()
	defer openers.Unlock()
	if _, ok := openers.m[scheme]; ok {
		panic("driver: scheme " + strconv.Quote(scheme) + " is registered twice")
	}
	openers.m[scheme] = open
}

// Open returns the transport for a URL. It is for code that wraps the transport before it passes it
// to bus.New. It does not accept the parameters of the bus, such as group.
func Open(ctx context.Context, url string) (Transport, error) {
	u, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	return OpenURL(ctx, u)
}

// OpenURL is [Open] for a URL that the caller has parsed. The caller may have removed or set
// parameters.
func OpenURL(ctx context.Context, u *URL) (Transport, error) {
	openers.RLock()
	open, ok := openers.m[u.Scheme]
	known := slices.Sorted(maps.Keys(openers.m))
	openers.RUnlock()
	if !ok {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "no transport is registered for the URL scheme " + strconv.Quote(u.Scheme) +
			": import its package; registered are: " + strings.Join(known, ", ")}
	}
	return open(ctx, u)
}
