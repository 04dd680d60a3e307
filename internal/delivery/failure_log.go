package delivery

import (
	"log/slog"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// failureLogInterval is the shortest time between two log lines of a subscription for failures of
// the same kind. Hooks get every failure.
const failureLogInterval = 10 * time.Second

// failureLog logs failures of messages at WARN. It logs the first of each kind at once, and then at
// most one per interval. A log line has the number of failures that were omitted before it. A
// failureLog is safe for concurrent use.
type failureLog struct {
	logger    *slog.Logger
	topic     string
	group     string
	transport string

	mu    sync.Mutex
	kinds map[string]*failureKind // by log message, which is a constant
}

type failureKind struct {
	next    time.Time // when this kind may be logged again
	omitted int
}

func newFailureLog(cfg Config) *failureLog {
	return &failureLog{logger: cfg.Logger, topic: cfg.Topic, group: cfg.Group, transport: cfg.Caps.Name, kinds: map[string]*failureKind{}}
}

// warn logs a failure of a record.
func (l *failureLog) warn(message string, r *driver.Record, args ...any) {
	omitted, ok := l.due(message)
	if !ok {
		return
	}
	all := []any{"transport", l.transport, "topic", l.topic, "group", l.group, "partition", r.Partition, "offset", r.Offset}
	all = append(all, args...)
	if omitted > 0 {
		all = append(all, "omitted", omitted)
	}
	l.logger.Warn(message, all...)
}

// due reports whether a failure of this kind may be logged now, and how many were omitted
// since the last one.
func (l *failureLog) due(message string) (omitted int, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[message]
	if k == nil {
		k = &failureKind{}
		l.kinds[message] = k
	}
	if now.Before(k.next) {
		k.omitted++
		return 0, false
	}
	omitted, k.omitted, k.next = k.omitted, 0, now.Add(failureLogInterval)
	return omitted, true
}
