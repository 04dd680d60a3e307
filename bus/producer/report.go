package producer

import (
	"context"

	"github.com/trunkline/trunkline/bus"
)

// Report is the outcome of one message.
type Report struct {
	// Topic is the producer's topic.
	Topic string
	// Partition and Offset are the position of the message in the log. They are -1 if Err
	// is not nil, or if the transport does not report them.
	Partition int32
	Offset    int64
	// Err is nil if and only if the log has the message. The code bus.CodeOutcomeUnknown
	// means that the log may have it; with any other code the log does not have it.
	Err error
}

// Code returns the code of Err. It has no meaning if Err is nil.
func (r Report) Code() bus.Code { return bus.CodeOf(r.Err) }

// Receipt gives access to the report of one message that SendAsync accepted. It is safe
// for concurrent use.
type Receipt struct{ m *item }

// Done returns a channel that is closed when the message has its report.
func (r *Receipt) Done() <-chan struct{} { return r.m.done }

// Report returns the report, or false if there is none yet.
func (r *Receipt) Report() (Report, bool) {
	select {
	case <-r.m.done:
		return r.m.report, true
	default:
		return Report{}, false
	}
}

// Wait waits for the report, and returns it and its Err. If ctx ends first it returns a
// report with bus.CodeOutcomeUnknown; a later Wait can still return the real one.
func (r *Receipt) Wait(ctx context.Context) (Report, error) {
	select {
	case <-r.m.done:
		return r.m.report, r.m.report.Err
	case <-ctx.Done():
	}
	if report, ok := r.Report(); ok { // if both channels are ready, select picks one at random
		return report, report.Err
	}
	report := r.m.failure(bus.CodeOutcomeUnknown, "the context of Wait ended before the message had a report", ctx.Err())
	return report, report.Err
}
