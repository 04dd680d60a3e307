package transporttest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/bus/hook"
)

var outageScenarios = []scenario{
	{name: "OutageIsReportedAndPublishReturnsUnavailable", needs: requirements{needDisconnect}, run: outageReported},
	{name: "SubscriptionWithoutGroupResumesAfterOutage", needs: requirements{needDisconnect, needReplay}, run: readerResumes},
	{name: "GroupLosesNoMessageInOutage", needs: requirements{needDisconnect, needGroups, needReplay, needRedelivery}, run: groupResumes},
}

// outage is a bus whose transport the suite can disconnect, with the events of its hooks.
type outage struct {
	*bus.Bus
	tr          driver.Transport
	sessions    chan hook.SessionEvent
	connections chan driver.Connection
}

func (o *outage) OnSession(ev hook.SessionEvent)   { o.sessions <- ev }
func (o *outage) OnConnection(c driver.Connection) { o.connections <- c }

func newOutage(t *testing.T, e *env) *outage {
	t.Helper()
	o := &outage{tr: e.transport(t), sessions: make(chan hook.SessionEvent, 1000), connections: make(chan driver.Connection, 1000)}
	o.Bus = e.busOver(t, o.tr, bus.WithHooks(o))
	return o
}

// assigned waits for an event that reports this assignment.
func (o *outage) assigned(t *testing.T, e *env, want bool) {
	t.Helper()
	ctx, cancel := e.context(t)
	defer cancel()
	for {
		select {
		case ev := <-o.sessions:
			if ev.Assigned == want {
				return
			}
		case <-ctx.Done():
			require.FailNow(t, "the assignment did not change", "assigned: %v", want)
		}
	}
}

// state waits for an event that reports this state of the connection, and returns it.
func (o *outage) state(t *testing.T, e *env, want driver.ConnectionState) driver.Connection {
	t.Helper()
	ctx, cancel := e.context(t)
	defer cancel()
	for {
		select {
		case c := <-o.connections:
			if c.State == want {
				return c
			}
		case <-ctx.Done():
			require.FailNow(t, "the connection did not change", "want %v", want)
		}
	}
}

func outageReported(t *testing.T, e *env) {
	b, watcher := newOutage(t, e), e.bus(t)
	topic := e.topic(t, watcher, 1)
	got := newRecorder()
	e.consume(t, watcher, topic, got.handler)
	b.state(t, e, driver.Connected)
	e.publish(t, b.Bus, topic, numbered(0, 1, nil)...)

	connect := e.h.Disconnect(t, b.tr)
	require.Error(t, b.state(t, e, driver.Disconnected).Cause)
	require.Equal(t, driver.Disconnected, b.Connection().State)
	ctx, cancel := e.context(t)
	defer cancel()
	if err := b.Ping(ctx); bus.CodeOf(err) != bus.CodeUnsupported {
		requireCode(t, bus.CodeUnavailable, err, "ping")
	}
	requireCode(t, bus.CodeUnavailable, e.tryPublish(t, b.Bus, topic, numbered(1, 1, nil)...), "publish")
	ended, end := context.WithCancel(ctx)
	end()
	require.Error(t, b.Ready(ended), "the bus is not ready in the outage")

	connect()
	require.NoError(t, b.Ready(ctx))
	b.state(t, e, driver.Connected)
	e.publish(t, b.Bus, topic, numbered(2, 1, nil)...)
	got.distinct(t, e, 2)
	require.ElementsMatch(t, []int{0, 2}, got.numbers(), "a message whose outcome is Unavailable was not sent")
}

// readerResumes makes two outages. The second one tests a subscription that has already resumed
// once.
func readerResumes(t *testing.T, e *env) {
	b, publisher := newOutage(t, e), e.bus(t)
	topic := e.topic(t, publisher, 1)
	got := newRecorder()
	s := e.consume(t, b.Bus, topic, got.handler)
	b.assigned(t, e, true)
	e.publish(t, publisher, topic, numbered(0, 10, nil)...)
	got.count(t, e, 10)
	n := 10
	for range 2 {
		connect := e.h.Disconnect(t, b.tr)
		b.assigned(t, e, false)
		assigned, cause := s.Assigned()
		require.False(t, assigned)
		require.Error(t, cause, "Assigned returns the cause")
		e.publish(t, publisher, topic, numbered(n, 10, nil)...)
		connect()
		b.assigned(t, e, true)
		n += 10
		got.count(t, e, n)
	}
	e.publish(t, publisher, topic, numbered(n, 1, nil)...)
	got.count(t, e, n+1)
	require.Equal(t, sequence(0, n+1), got.numbers(), "reading continues after the last record, and each message is delivered once")
	require.NoError(t, s.Err())
}

func groupResumes(t *testing.T, e *env) {
	b, publisher := newOutage(t, e), e.bus(t)
	topic := e.topic(t, publisher, partitions)
	begun, causes := newRecorder(), make(chan error, 1)
	acked := newRecorder()
	e.consume(t, b.Bus, topic, func(ctx context.Context, d *bus.Delivery) error {
		if number(d) == 10 && len(causes) == 0 && len(begun.snapshot()) == 0 { // is being handled when the outage begins
			begun.add(d)
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return ctx.Err()
		}
		acked.add(d)
		return nil
	}, bus.Group(e.name("group")))
	b.assigned(t, e, true)
	e.publish(t, publisher, topic, numbered(0, 11, nil)...)
	begun.count(t, e, 1)
	connect := e.h.Disconnect(t, b.tr)
	b.assigned(t, e, false)
	require.NotErrorIs(t, await(t, e, causes, "the context of the handler ends"), context.Canceled, "the cause is that of the outage")
	e.publish(t, publisher, topic, numbered(11, 10, nil)...)
	connect()
	b.assigned(t, e, true)
	acked.distinct(t, e, 21)
}
