package liveness

import (
	"fmt"

	"github.com/trunkline/trunkline/bus"
)

const (
	opConnect   = "connect to the broker"
	opPing      = "ping the broker"
	opSubscribe = "wait for the subscription"
	opConfigure = "configure liveness"
)

// While a cause stays the same, its text must stay the same, too: the registry compares
// texts, and a new text wakes its observers.

var errStuck = &bus.Error{Code: bus.CodeDeadlineExceeded, Op: opPing,
	Reason: "the ping function did not return when its context ended"}

var errRefused = &bus.Error{Code: bus.CodeUnauthenticated, Op: opConnect,
	Reason: "the broker rejected the connection: check the credentials"}

func (f *facts) lostCause() error {
	if f.connection.Cause != nil {
		return f.connection.Cause
	}
	return &bus.Error{Code: bus.CodeUnavailable, Op: opConnect, Reason: "every connection is lost"}
}

func (m *machine) silence() error {
	reason := fmt.Sprintf("%d pings in a row failed, with no other sign of life", missesUntilLost)
	if m.presumed {
		reason = fmt.Sprintf("publishing failed %d times, with no other sign of life", missesUntilLost)
	}
	return &bus.Error{Code: bus.CodeUnavailable, Op: opPing, Reason: reason, Err: m.missErr}
}

func (s *subFact) unassignedError() error {
	return &bus.Error{Code: bus.CodeUnavailable, Op: opSubscribe, Topic: s.topic, Reason: "it has no assignment", Err: s.cause}
}

func (s *subFact) endedError() error {
	code := bus.CodeClosed
	if s.cause != nil {
		code = bus.CodeOf(s.cause)
	}
	return &bus.Error{Code: code, Op: opSubscribe, Topic: s.topic, Reason: "it has ended and is still required: pass it to Monitor.Ignore if it is not needed", Err: s.cause}
}

func invalid(reason string) error {
	return &bus.Error{Code: bus.CodeInvalidArgument, Op: opConfigure, Reason: reason}
}
