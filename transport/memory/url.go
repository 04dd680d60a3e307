package memory

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

func init() { bus.Register(name, open) }

// registry holds the logs that memory://name shares, for as long as a transport is
// on them. It belongs to the process, which is what such a URL asks for.
var registry = struct {
	sync.Mutex
	logs map[string]*sharedLog
}{logs: map[string]*sharedLog{}}

type sharedLog struct {
	log   *Log
	users int
}

func open(_ context.Context, u *driver.URL) (driver.Transport, error) {
	var opts []Option
	if n := u.Int("partitions", 0, 1); n > 0 {
		opts = append(opts, WithPartitions(int32(min(n, math.MaxInt32))))
	}
	if n := u.Int("max_records", 0, 1); n > 0 {
		opts = append(opts, WithMaxRecords(n))
	}
	if n := u.Int("max_bytes", 0, 1); n > 0 {
		opts = append(opts, WithMaxBytes(int64(n)))
	}
	if d := u.Duration("max_age", 0); d > 0 {
		opts = append(opts, WithMaxAge(d))
	}
	if d := u.Duration("revoke_timeout", 0); d > 0 {
		opts = append(opts, WithRevokeTimeout(d))
	}
	if err := u.Done(); err != nil {
		return nil, err
	}
	if u.Path != "" || len(u.Hosts()) > 1 {
		return nil, invalid("open", "", "the URL takes at most one name and no path: write memory:// or memory://name")
	}
	if u.Host == "" {
		return New(opts...)
	}
	l, err := acquire(u.Host, opts)
	if err != nil {
		return nil, err
	}
	return newTransport(l, func() { release(u.Host) }), nil
}

// acquire returns the log of that name, made with opts if there is none; if there is
// one, opts must not ask for another.
func acquire(name string, opts []Option) (*Log, error) {
	registry.Lock()
	defer registry.Unlock()
	s := registry.logs[name]
	if s == nil {
		l, err := NewLog(opts...)
		if err != nil {
			return nil, err
		}
		s = &sharedLog{log: l}
		registry.logs[name] = s
	}
	asked := config{settings: s.log.settings}
	for _, o := range opts {
		o(&asked)
	}
	switch {
	case asked.err != nil:
		return nil, asked.err
	case asked.settings != s.log.settings:
		return nil, invalid("open", "", fmt.Sprintf("the log %q is open already, with other parameters: give the same, or none", name))
	}
	s.users++
	return s.log, nil
}

func release(name string) {
	registry.Lock()
	defer registry.Unlock()
	s := registry.logs[name]
	if s.users--; s.users == 0 {
		delete(registry.logs, name)
	}
}
