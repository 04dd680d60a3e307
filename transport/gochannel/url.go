package gochannel

import (
	"context"
	"sync"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

func init() { bus.Register(name, open) }

// named holds the hubs that chan://name shares, for as long as a transport uses
// them. It is the one thing here that belongs to the process: that is what such a
// URL asks for.
var named = struct {
	sync.Mutex
	hubs map[string]*sharedHub
}{hubs: make(map[string]*sharedHub)}

type sharedHub struct {
	hub   *hub
	users int
}

func open(_ context.Context, u *driver.URL) (driver.Transport, error) {
	buffer := u.Int("buffer", defaultBuffer, 1)
	if err := u.Done(); err != nil {
		return nil, err
	}
	if u.Path != "" || len(u.Hosts()) > 1 {
		return nil, &driver.Error{
			Code: driver.CodeInvalidArgument, Op: "open", Transport: name,
			Reason: "the URL takes at most one name and no path: write chan:// or chan://name",
		}
	}
	if u.Host == "" {
		return New(WithBuffer(buffer))
	}
	return newTransport(acquire(u.Host), func() { release(u.Host) }, []Option{WithBuffer(buffer)})
}

func acquire(name string) *hub {
	named.Lock()
	defer named.Unlock()
	s := named.hubs[name]
	if s == nil {
		s = &sharedHub{hub: newHub()}
		named.hubs[name] = s
	}
	s.users++
	return s.hub
}

func release(name string) {
	named.Lock()
	defer named.Unlock()
	if s := named.hubs[name]; s != nil {
		if s.users--; s.users == 0 {
			delete(named.hubs, name)
		}
	}
}
