package bustest

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// testLog writes log lines to the log of a test. After close it discards them, because a test must not
// log after its end.
type testLog struct {
	t testing.TB

	mu     sync.Mutex
	closed bool
}

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.t.Logf("%s", bytes.TrimSuffix(line, []byte("\n")))
	}
	return len(line), nil
}

func (l *testLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}
