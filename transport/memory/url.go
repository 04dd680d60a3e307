package memory

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/trunkline/trunkline/bus/driver"
)

func init() { driver.Register(name, open) }

// namedLogs holds the logs of memory://name URLs. A log stays here as long as a
// transport uses it. The registry is global, because these names are shared by the
// whole process.
var namedLogs = struct {
	sync.Mutex
	logs map[string]*namedLog
}{logs: map[string]*namedLog{}}

type namedLog struct {
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
		return nil, invalidArgument("open", "", "the URL takes at most one name and no path: write memory:// or memory://name")
	}
	if u.Host == "" {
		return New(opts...)
	}
	l, err := acquireLog(u.Host, opts)
	if err != nil {
		return nil, err
	}
	return newTransport(l, func() { releaseLog(u.Host) }), nil
}

// acquireLog returns the log with this name and counts one more user. It creates the log
// if there is none. If there is one, opts must not contradict its settings.
func acquireLog(name string, opts []Option) (*Log, error) {
	namedLogs.Lock()
	defer namedLogs.Unlock()
	named := namedLogs.logs[name]
	if named == nil {
		l, err := NewLog(opts...)
		if err != nil {
			return nil, err
		}
		named = &namedLog{log: l}
		namedLogs.logs[name] = named
	}
	requested := config{settings: named.log.settings}
	for _, o := range opts {
		o(&requested)
	}
	switch {
	case requested.err != nil:
		return nil, requested.err
	case requested.settings != named.log.settings:
		return nil, invalidArgument("open", "", fmt.Sprintf("the log %q is open with other parameters: use the same parameters, or none", name))
	}
	named.users++
	return named.log, nil
}

func releaseLog(name string) {
	namedLogs.Lock()
	defer namedLogs.Unlock()
	named := namedLogs.logs[name]
	if named.users--; named.users == 0 {
		delete(namedLogs.logs, name)
	}
}
