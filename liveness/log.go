package liveness

import (
	"context"
	"log/slog"
	"time"

	"github.com/trunkline/trunkline/liveness/probe"
)

// logInterval is the least time between two lines of a monitor.
const logInterval = time.Second

// logChanges logs when the service becomes ready, and when it stops being ready, until ctx
// ends. It uses Watch, so a slow log handler gets fewer lines and does not delay the
// monitor.
func (m *Monitor) logChanges(ctx context.Context) {
	l := changeLog{logger: m.cfg.logger.With("service", m.cfg.service)}
	for s := range m.Watch(ctx) {
		n := m.Transitions()
		if !l.log(ctx, s, n[probe.NotReady]+n[probe.Failed]) {
			continue
		}
		timer := time.NewTimer(logInterval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// changeLog remembers what it logged last.
type changeLog struct {
	logger *slog.Logger
	status probe.Status // Unknown before the first line
	since  time.Time    // when that status began
	losses uint64       // the argument losses of the last line
}

// log logs s if it differs from the state that was logged last, and reports whether it
// logged a line. losses is how often the service has become NotReady or Failed.
func (l *changeLog) log(ctx context.Context, s State, losses uint64) bool {
	fresh := losses - l.losses
	switch {
	case s.Status == probe.Failed && l.status != probe.Failed:
		l.logger.ErrorContext(ctx, "the message bus has failed and will not recover by itself", "cause", s.Cause, "losses", fresh)
	case s.Status == probe.NotReady && l.status != probe.NotReady:
		l.logger.WarnContext(ctx, "the message bus is not ready", "cause", s.Cause, "losses", fresh)
	case s.Status == probe.Prepared && s.Cause != nil && l.status != probe.Prepared:
		l.logger.InfoContext(ctx, "the message bus is not ready yet", "cause", s.Cause)
	case s.Status == probe.Running && fresh > 0 && l.status == probe.Running:
		l.logger.WarnContext(ctx, "the message bus was not ready for a moment", "losses", fresh)
	case s.Status == probe.Running && (l.status == probe.NotReady || l.status == probe.Failed):
		l.logger.InfoContext(ctx, "the message bus is ready again", "after", s.Since.Sub(l.since), "losses", fresh)
	case s.Status == probe.Running && l.status != probe.Running:
		l.logger.InfoContext(ctx, "the message bus is ready")
	default:
		return false
	}
	l.status, l.since, l.losses = s.Status, s.Since, losses
	return true
}
