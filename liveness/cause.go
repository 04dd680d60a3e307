package liveness

import "github.com/trunkline/trunkline/bus"

const (
	opConnect   = "connect to the broker"
	opProbe     = "probe the broker"
	opSubscribe = "wait for the subscription"
	opConfigure = "configure liveness"
)

// The texts of causes are the same as long as the cause is: the registry takes a
// new text for news.

var errStuck = &bus.Error{Code: bus.CodeDeadlineExceeded, Op: opProbe,
	Reason: "the prober did not return when its context ended"}

func (f *facts) lostCause() error {
	if f.connection.Cause != nil {
		return f.connection.Cause
	}
	return &bus.Error{Code: bus.CodeUnavailable, Op: opConnect, Reason: "every connection is lost"}
}

func (m *machine) silence() error {
	reason := "two probes in a row were missed, with no other sign of life"
	if m.presumed {
		reason = "publishing failed twice, with no other sign of life"
	}
	return &bus.Error{Code: bus.CodeUnavailable, Op: opProbe, Reason: reason, Err: m.missErr}
}

func (s *subFact) unassignedError() error {
	return &bus.Error{Code: bus.CodeUnavailable, Op: opSubscribe, Topic: s.topic, Reason: "it is not assigned", Err: s.cause}
}

func (s *subFact) overError() error {
	code := bus.CodeClosed
	if s.cause != nil {
		code = bus.CodeOf(s.cause)
	}
	return &bus.Error{Code: code, Op: opSubscribe, Topic: s.topic, Reason: "it has ended and is still required", Err: s.cause}
}

func invalid(reason string) error {
	return &bus.Error{Code: bus.CodeInvalidArgument, Op: opConfigure, Reason: reason}
}
