package foreign_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/foreign"
)

var discard = &publisher{publish: func(string, *message.Message) error { return nil }}

func acked(m *message.Message) bool {
	select {
	case <-m.Acked():
		return true
	default:
		return false
	}
}

func nacked(m *message.Message) bool {
	select {
	case <-m.Nacked():
		return true
	default:
		return false
	}
}

func TestCommitAcknowledgesMessagesBelowNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := make(chan *message.Message)
		tr := open(t, discard, feed(in))
		session, p := subscribe(t, tr, driver.Subscription{Topic: "orders"})
		var ms []*message.Message
		for i := range 3 {
			m := message.NewMessage("id", []byte("payload"))
			m.Metadata.Set("trace", "abc")
			m.Metadata.Set(driver.KeyDirective, "k")
			in <- m
			records, err := p.Fetch(t.Context())
			require.NoError(t, err)
			require.Equal(t, []driver.Record{{
				Topic: "orders", Offset: int64(i), Key: []byte("k"), Timestamp: time.Now(), UUID: "id",
				Headers: []driver.Header{{Key: "trace", Value: "abc"}}, Payload: []byte("payload"),
			}}, records)
			ms = append(ms, m)
		}
		require.NoError(t, p.Commit(t.Context(), 2, ""))
		require.True(t, acked(ms[0]))
		require.True(t, acked(ms[1]))
		require.False(t, acked(ms[2]))
		p.Release()
		require.True(t, nacked(ms[2]))
		require.Equal(t, driver.CodeRevoked, driver.CodeOf(p.Commit(t.Context(), 3, "")))
		require.NoError(t, session.Close(t.Context()))
		require.NoError(t, session.Close(t.Context()), "idempotent")
		_, err := p.Fetch(t.Context())
		require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
		_, err = session.Next(t.Context())
		require.Equal(t, driver.CodeClosed, driver.CodeOf(err))
		require.NoError(t, tr.Close(t.Context()))
	})
}

func TestCloseNacksBufferedMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		buffered := make(chan *message.Message, 2)
		ms := []*message.Message{message.NewMessage("0", nil), message.NewMessage("1", nil)}
		sub := &subscriber{subscribe: func(ctx context.Context, _ string) (<-chan *message.Message, error) {
			buffered <- ms[0]
			buffered <- ms[1]
			context.AfterFunc(ctx, func() { close(buffered) })
			return buffered, nil
		}}
		tr := open(t, discard, sub, foreign.WithKeepOpen())
		subscribe(t, tr, driver.Subscription{Topic: "orders"})
		require.NoError(t, tr.Close(t.Context()), "Close ends open sessions")
		require.True(t, nacked(ms[0]))
		require.True(t, nacked(ms[1]))
		require.Zero(t, sub.closed, "WithKeepOpen leaves the subscriber open")
	})
}

func TestSubscriberProcessesLastAckBeforeSubscriptionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := make(chan *message.Message)
		seen := "nothing"
		sub := &subscriber{subscribe: func(ctx context.Context, _ string) (<-chan *message.Message, error) {
			go func() {
				defer close(out)
				m := message.NewMessage("0", nil)
				mctx, cancel := context.WithCancel(ctx)
				defer cancel()
				m.SetContext(mctx)
				out <- m
				time.Sleep(10 * time.Millisecond) // the subscriber is slow
				select {
				case <-ctx.Done():
					seen = "the end"
				default:
					seen = "the ack"
				}
			}()
			return out, nil
		}}
		tr := open(t, discard, sub, foreign.WithRedelivery())
		session, p := subscribe(t, tr, driver.Subscription{Topic: "orders"})
		_, err := p.Fetch(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.Commit(t.Context(), 1, ""))
		require.NoError(t, session.Close(t.Context()))
		require.Equal(t, "the ack", seen)
		require.NoError(t, tr.Close(t.Context()))
	})
}

func TestCloseIsBoundedIfSubscriberIgnoresItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		never := make(chan *message.Message)
		sub := &subscriber{subscribe: func(context.Context, string) (<-chan *message.Message, error) { return never, nil }}
		tr := open(t, discard, sub)
		session, _ := subscribe(t, tr, driver.Subscription{Topic: "orders"})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.NoError(t, session.Close(ctx))
		require.NoError(t, tr.Close(ctx))
		require.Equal(t, 1, sub.closed)
	})
}

func TestClosedChannelEndsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := make(chan *message.Message)
		sub := &subscriber{subscribe: func(context.Context, string) (<-chan *message.Message, error) { return out, nil }}
		tr := open(t, discard, sub)
		session, p := subscribe(t, tr, driver.Subscription{Topic: "orders"})
		ended := make(chan error, 1)
		go func() { _, err := session.Next(t.Context()); ended <- err }()
		close(out)
		_, err := p.Fetch(t.Context())
		require.ErrorContains(t, err, "closed its channel")
		require.Equal(t, err, <-ended)
		require.Equal(t, err, context.Cause(p.Context()))
		require.NoError(t, tr.Close(t.Context()))
	})
}

func TestSubscribeIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		unavailable := errors.New("no broker")
		attempts := 0
		in := feed(nil)
		sub := &subscriber{subscribe: func(ctx context.Context, topic string) (<-chan *message.Message, error) {
			if attempts++; attempts < 4 {
				return nil, unavailable
			}
			return in.subscribe(ctx, topic)
		}}
		tr := open(t, discard, sub)
		session, err := tr.Subscribe(t.Context(), driver.Subscription{Topic: "orders", Start: driver.Start{Kind: driver.StartNewest}})
		require.NoError(t, err, "Subscribe does not wait for the subscriber")
		for range 3 {
			e, err := session.Next(t.Context())
			require.NoError(t, err)
			require.False(t, e.Assigned)
			require.ErrorIs(t, e.Cause, unavailable)
		}
		e, err := session.Next(t.Context())
		require.NoError(t, err)
		require.True(t, e.Assigned)
		require.NoError(t, tr.Close(t.Context()))
	})
}

func TestPermanentSubscribeErrorEndsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sub := &subscriber{subscribe: func(context.Context, string) (<-chan *message.Message, error) {
			return nil, &driver.Error{Code: driver.CodeNotFound}
		}}
		tr := open(t, discard, sub)
		session, err := tr.Subscribe(t.Context(), driver.Subscription{Topic: "orders"})
		require.NoError(t, err)
		for range 2 {
			_, err = session.Next(t.Context())
			require.Equal(t, driver.CodeNotFound, driver.CodeOf(err))
		}
		require.NoError(t, tr.Close(t.Context()))
	})
}

func TestEachGroupSubscriptionOwnsItsSubscriber(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		members := map[string]*subscriber{}
		tr := open(t, discard, feed(nil), foreign.WithGroupSubscriber(func(group string) (message.Subscriber, error) {
			members[group] = feed(nil)
			return members[group], nil
		}))
		require.True(t, tr.Capabilities().Groups)
		a, _ := subscribe(t, tr, driver.Subscription{Topic: "orders", Group: "a"})
		subscribe(t, tr, driver.Subscription{Topic: "orders", Group: "b"})
		require.NoError(t, a.Close(t.Context()))
		require.Equal(t, 1, members["a"].closed)
		require.Zero(t, members["b"].closed)
		require.NoError(t, tr.Close(t.Context()))
		require.Equal(t, 1, members["b"].closed)
	})
}
