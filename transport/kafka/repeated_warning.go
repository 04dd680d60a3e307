package kafka

import (
	"log/slog"
	"sync"
	"time"
)

// warningInterval is the shortest time between two warnings about the same condition.
const warningInterval = 10 * time.Second

// repeatedWarning logs a condition that can occur many times. It logs the first occurrence
// at WARN, and then one per warningInterval with the number of those in between. It logs
// the others at DEBUG. It is safe for concurrent use.
type repeatedWarning struct {
	logger  *slog.Logger
	message string

	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (w *repeatedWarning) log(args ...any) {
	w.mu.Lock()
	warn := w.last.IsZero() || time.Since(w.last) >= warningInterval
	skipped := w.skipped
	if warn {
		w.last, w.skipped = time.Now(), 0
	} else {
		w.skipped++
	}
	w.mu.Unlock()
	if !warn {
		w.logger.Debug(w.message, args...)
		return
	}
	if skipped > 0 {
		args = append(args, "not_logged", skipped)
	}
	w.logger.Warn(w.message, args...)
}
