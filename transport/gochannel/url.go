package gochannel

import (
	"context"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

func init() { driver.Register(name, open) }

// namedHubs holds the hubs of chan://name URLs. A hub stays here as long as a transport uses
// it. The registry is global, because these names are shared by the whole process.
var namedHubs = struct {
	sync.Mutex
	hubs map[string]*namedHub
}{hubs: make(map[string]*namedHub)}

type namedHub struct {
	hub   *hub
	users int
}

func open(_ context.Context, u *driver.URL) (driver.Transport, error) {
	buffer := u.Int("buffer", defaultBuffer, 1)
	if err := u.Done(); err != nil {
		return nil, err
	}
	if u.Path != "" || len(u.Hosts()) > 1 {
		return nil, invalidArgument("open", "the URL takes at most one name and no path: write chan:// or chan://name")
	}
	if u.Host == "" {
		return New(WithBuffer(buffer))
	}
	return newTransport(acquireHub(u.Host), func() { releaseHub(u.Host) }, []Option{WithBuffer(buffer)})
}

func acquireHub(name string) *hub {
	namedHubs.Lock()
	defer namedHubs.Unlock()
	s := namedHubs.hubs[name]
	if s == nil {
		s = &namedHub{hub: newHub()}
		namedHubs.hubs[name] = s
	}
	s.users++
	return s.hub
}

func releaseHub(name string) {
	namedHubs.Lock()
	defer namedHubs.Unlock()
	if s := namedHubs.hubs[name]; s != nil {
		if s.users--; s.users == 0 {
			delete(namedHubs.hubs, name)
		}
	}
}
