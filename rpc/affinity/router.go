package affinity

import (
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/presence"
)

// Topic returns the name of the topic on which only this instance of the service listens.
func Topic(service, instance string) string { return service + "." + instance }

// Router assigns keys to the running instances of a service. All methods are safe for
// concurrent use.
type Router struct {
	watcher *presence.Watcher
	service string
	cfg     config

	mu      sync.Mutex
	changed <-chan struct{} // of the watcher, read before table was made
	table   *Table
}

// NewRouter returns a router for the instances of service that w lists and that serve their
// own [Topic]. The router does not own w: the caller waits until w is ready, and closes it
// when the router is no longer used.
func NewRouter(w *presence.Watcher, service string, opts ...Option) (*Router, error) {
	if w == nil || service == "" {
		return nil, errors.New("affinity: NewRouter: the watcher must not be nil, and the service must have a name")
	}
	r := &Router{watcher: w, service: service, cfg: defaultConfig()}
	for _, o := range opts {
		if err := o(&r.cfg); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Table returns the table of the instances that the watcher lists now.
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
	r.changed = r.watcher.Changed() // before the list is read, so that no change is missed
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

// Instance returns the id of the instance that key is assigned to now. It returns an error
// with codes.Unavailable if there is none.
func (r *Router) Instance(key string) (string, error) {
	id := r.Table().Member(key)
	if id == "" {
		return "", rpc.NewError(codes.Unavailable, errors.New("affinity: no instance of "+r.service+" with a topic of its own is running"))
	}
	return id, nil
}

// Topic returns the topic of the instance that key is assigned to now. It returns an error
// with codes.Unavailable if there is none.
func (r *Router) Topic(key string) (string, error) {
	id, err := r.Instance(key)
	if err != nil {
		return "", err
	}
	return Topic(r.service, id), nil
}
