package affinity

import (
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/presence"
)

// Topic returns the name of the topic that one instance of a service serves.
func Topic(service, instance string) string { return service + "." + instance }

// Router finds the instance of a service, among those that are there, that a key
// belongs to. All methods are safe for concurrent use.
type Router struct {
	watcher *presence.Watcher
	service string
	cfg     config

	mu      sync.Mutex
	changed <-chan struct{} // of the watcher, got before table was made
	table   *Table
}

// NewRouter returns a router for the instances of service that w knows of and that
// serve the [Topic] of their own. The watcher stays the caller's, who waits for its
// Ready, and closes it when the router is not used any more.
func NewRouter(w *presence.Watcher, service string, opts ...Option) (*Router, error) {
	if w == nil || service == "" {
		return nil, errors.New("affinity: the watcher is nil, or the service has no name")
	}
	r := &Router{watcher: w, service: service, cfg: config{partitions: 1117, load: 1.1}}
	for _, o := range opts {
		if err := o(&r.cfg); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Table returns the table of the instances that are known now.
func (r *Router) Table() *Table {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table != nil {
		select {
		case <-r.changed:
		default:
			return r.table
		}
	}
	r.changed = r.watcher.Changed() // before asking: what changes later is seen next time
	var ids []string
	for _, i := range r.watcher.Instances(r.service) {
		if slices.Contains(i.Topics, Topic(i.Service, i.ID)) {
			ids = append(ids, i.ID)
		}
	}
	if r.table == nil || !slices.Equal(ids, r.table.members) {
		r.table = r.cfg.table(ids)
	}
	return r.table
}

// Instance returns the id of the instance that key belongs to now. It fails with
// codes.Unavailable when none is known.
func (r *Router) Instance(key string) (string, error) {
	id := r.Table().Member(key)
	if id == "" {
		return "", rpc.NewError(codes.Unavailable, errors.New("no instance of "+r.service+" is known that serves a topic of its own"))
	}
	return id, nil
}

// Topic returns the topic of the instance that key belongs to now. It fails with
// codes.Unavailable when none is known.
func (r *Router) Topic(key string) (string, error) {
	id, err := r.Instance(key)
	if err != nil {
		return "", err
	}
	return Topic(r.service, id), nil
}
