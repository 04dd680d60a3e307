package producer

import (
	"context"

	"github.com/trunkline/trunkline/bus"
)

// Report says what became of one message.
type Report struct {
	Topic string
	// Partition and Offset say where it is, when Err is nil and the transport has such
	// things; otherwise they are -1.
	Partition int32
	Offset    int64
	// Err is nil if and only if the log has the message.
	Err error
}

// Code returns the error's code. It means nothing when Err is nil.
func (r Report) Code() bus.Code { return bus.CodeOf(r.Err) }

// Receipt is for one message that SendAsync accepted. It is safe for concurrent use.
type Receipt struct{ m *item }

// Done is closed when the report is there.
func (r *Receipt) Done() <-chan struct{} { return r.m.done }

// Report returns the report, and false while there is none yet.
func (r *Receipt) Report() (Report, bool) {
	select {
	case <-r.m.done:
		return r.m.report, true
	default:
		return Report{}, false
	}
}

// Wait waits for the report and returns it with its error. When ctx ends first it
// returns bus.CodeOutcomeUnknown; the report still comes.
func (r *Receipt) Wait(ctx context.Context) (Report, error) {
	select {
	case <-r.m.done:
		return r.m.report, r.m.report.Err
	case <-ctx.Done():
	}
	if report, ok := r.Report(); ok { // both: whatever select picked
		return report, report.Err
	}
	report := r.m.failure(bus.CodeOutcomeUnknown, "it has no outcome yet, and the wait for it ended", ctx.Err())
	return report, report.Err
}
