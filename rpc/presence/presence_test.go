package presence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/rpc/presence"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func newBus(t *testing.T, tr driver.Transport) *bus.Bus {
	b, err := bus.New(tr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func onMemory(t *testing.T, log *memory.Log) (*bus.Bus, *memory.Transport) {
	tr, err := memory.New(memory.WithLog(log))
	require.NoError(t, err)
	return newBus(t, tr), tr
}

func newLog(t *testing.T) *memory.Log {
	log, err := memory.NewLog()
	require.NoError(t, err)
	return log
}

func watch(t *testing.T, b *bus.Bus) *presence.Watcher {
	w, err := presence.NewWatcher(b)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}

func announce(t *testing.T, b *bus.Bus, id string, topics ...string) *presence.Announcer {
	a, err := presence.NewAnnouncer(b, presence.Instance{Service: "s", ID: id, Topics: topics})
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func ids(w *presence.Watcher) (all []string) {
	for _, i := range w.Instances("s") {
		all = append(all, i.ID)
	}
	return all
}

func TestWatcherListsInstancesUntilTheyLeave(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) *bus.Bus{
		"memory": func(t *testing.T) *bus.Bus { b, _ := onMemory(t, newLog(t)); return b },
		"gochannel": func(t *testing.T) *bus.Bus {
			tr, err := gochannel.New()
			require.NoError(t, err)
			return newBus(t, tr)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := open(t)
				early := announce(t, b, "early", "a", "b")
				synctest.Wait()
				w := watch(t, b)
				require.NoError(t, w.Ready(t.Context()))
				require.Equal(t, time.Now(), w.Since())
				if b.Capabilities().Replay {
					synctest.Wait()
					require.Equal(t, []string{"early"}, ids(w), "a new watcher reads earlier announcements")
				}
				changed := w.Changed()
				late := announce(t, b, "late", "b")
				<-changed
				time.Sleep(4 * time.Second)
				require.Equal(t, []string{"early", "late"}, ids(w))
				require.Equal(t, 2, w.Serving("b"))
				require.Equal(t, 1, w.Serving("a"))
				require.Empty(t, w.Instances("other"))
				require.False(t, w.Instances("")[0].Started.IsZero())

				require.NoError(t, early.SetTopics("b"))
				synctest.Wait()
				require.Zero(t, w.Serving("a"))
				require.Error(t, early.SetTopics(""))

				time.Sleep(time.Minute) // the instances stay listed, because they repeat their announcements
				require.Equal(t, []string{"early", "late"}, ids(w))
				require.NoError(t, late.Close())
				require.NoError(t, late.Close())
				synctest.Wait()
				require.Equal(t, []string{"early"}, ids(w), "the instance has announced that it leaves")
				require.Equal(t, 1, w.Serving("b"))
			})
		})
	}
}

func TestCrashedInstanceExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t)
		b, _ := onMemory(t, log)
		w := watch(t, b)
		theirs, tr := onMemory(t, log)
		announce(t, theirs, "i", "topic")
		time.Sleep(time.Second)
		require.Equal(t, 1, w.Serving("topic"))
		tr.Crash()
		time.Sleep(5 * time.Second)
		require.Equal(t, 1, w.Serving("topic"))
		time.Sleep(6 * time.Second)
		require.Zero(t, w.Serving("topic"))
		require.Empty(t, ids(w))
	})
}

// The watcher recovers by itself.
func TestSinceIsZeroDuringAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := newLog(t)
		log.Disconnect(errors.New("pulled"))
		b, _ := onMemory(t, log)
		w := watch(t, b)
		announce(t, b, "i", "topic")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.Ready(ctx), context.DeadlineExceeded)
		log.Connect()
		require.NoError(t, w.Ready(t.Context()))
		time.Sleep(20 * time.Second)
		require.Equal(t, 1, w.Serving("topic"))
		log.Disconnect(nil)
		time.Sleep(time.Minute)
		require.Zero(t, w.Serving("topic"))
		require.True(t, w.Since().IsZero(), "the list is incomplete")
		log.Connect()
		time.Sleep(20 * time.Second)
		require.Equal(t, 1, w.Serving("topic"))
		require.False(t, w.Since().IsZero())
	})
}

func TestClosedBusEndsWatcherAndAnnouncer(t *testing.T) {
	t.Parallel()
	b, _ := onMemory(t, newLog(t))
	w := watch(t, b)
	a := announce(t, b, "i")
	require.NoError(t, w.Ready(t.Context()))
	require.NoError(t, b.Close())
	require.Eventually(t, func() bool { return bus.CodeOf(w.Ready(t.Context())) == bus.CodeClosed }, time.Minute, time.Millisecond)
	_ = a.Close() // there may be no announcement to withdraw
	require.NoError(t, w.Close())
}

func TestOtherMessagesAreIgnored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := onMemory(t, newLog(t))
		w := watch(t, b)
		require.NoError(t, w.Ready(t.Context()))
		for _, m := range []*message.Message{
			announcementMessage("", `{}`), announcementMessage("9 here", `{}`), announcementMessage("1 here", `no JSON`), announcementMessage("1 here", `{}`), announcementMessage("1 gone", `{"service":"s","instance":"never"}`),
			announcementMessage("1 here", `{"service":"s","instance":"i","ttl_ms":-1}`), announcementMessage("1 here", `{"service":"s","instance":"i","topics":[""]}`),
			announcementMessage("1 here", `{"service":"s","instance":"i","x":"`+strings.Repeat("x", 40_000)+`"}`),
		} {
			require.NoError(t, b.Publish(presence.DefaultTopic, m))
		}
		announce(t, b, "i")
		synctest.Wait()
		require.Equal(t, []string{"i"}, ids(w))
	})
}

func announcementMessage(value, payload string) *message.Message {
	m := message.NewMessage("id", []byte(payload))
	m.Metadata.Set("trunkline-presence", value)
	return m
}

func TestInvalidInstancesAndOptionsAreRejected(t *testing.T) {
	t.Parallel()
	b, _ := onMemory(t, newLog(t))
	long := strings.Repeat("x", 300)
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprint(i)] = ""
	}
	for _, i := range []presence.Instance{
		{}, {Service: "s"}, {ID: "i"}, {Service: long, ID: "i"}, {Service: "s", ID: long}, {Service: "s", ID: "i", Topics: []string{long}},
		{Service: "s", ID: "i", Topics: make([]string, 1000)}, {Service: "s", ID: "i", Metadata: many},
		{Service: "s", ID: "i", Metadata: map[string]string{"a": strings.Repeat("x", 40_000)}},
	} {
		_, err := presence.NewAnnouncer(b, i)
		require.Error(t, err)
		require.Less(t, len(err.Error()), 200)
	}
	for _, o := range []presence.Option{presence.WithInterval(0), presence.WithInterval(time.Hour), presence.WithLogger(nil)} {
		_, err := presence.NewWatcher(b, o)
		require.Error(t, err)
	}
	_, err := presence.NewWatcher(nil)
	require.Error(t, err)
	_, err = presence.NewAnnouncer(nil, presence.Instance{Service: "s", ID: "i"})
	require.Error(t, err)
}
