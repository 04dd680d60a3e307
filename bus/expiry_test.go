package bus_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

// Each message without a deadline has the whole delivery time-out, even if other messages wait. A
// message with a deadline has that deadline. A message whose outcome comes in time does not expire.
func TestEachPublishHasItsOwnTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		s.publish = func(batch []driver.Outgoing) {
			for i := range batch {
				if o := &batch[i]; string(o.Payload) == "answered" {
					time.AfterFunc(15*time.Second, func() { o.Complete(driver.Outcome{Offset: 1}) })
				}
			}
		}
		b := s.bus(t, bus.WithDeliveryTimeout(30*time.Second), bus.WithCloseTimeout(time.Second))
		begun := time.Now()
		var all sync.WaitGroup
		for _, m := range []struct {
			payload     string
			begins, own time.Duration
			ends        time.Duration
			want        bus.Code
		}{
			{payload: "first", ends: 30 * time.Second, want: bus.CodeOutcomeUnknown},
			{payload: "concurrent", ends: 30 * time.Second, want: bus.CodeOutcomeUnknown},
			{payload: "answered", begins: 5 * time.Second, ends: 20 * time.Second},
			{payload: "own deadline", begins: 6 * time.Second, own: 4 * time.Second, ends: 10 * time.Second, want: bus.CodeOutcomeUnknown},
			{payload: "second", begins: 10 * time.Second, ends: 40 * time.Second, want: bus.CodeOutcomeUnknown},
			{payload: "much later", begins: 2 * time.Minute, ends: 150 * time.Second, want: bus.CodeOutcomeUnknown},
		} {
			all.Go(func() {
				time.Sleep(m.begins)
				msg := message.NewMessage("id", []byte(m.payload))
				if m.own > 0 {
					ctx, cancel := context.WithTimeout(t.Context(), m.own)
					defer cancel()
					msg.SetContext(ctx)
				}
				err := b.Publish("t", msg)
				require.Equal(t, m.ends, time.Since(begun), m.payload)
				if m.want == 0 {
					require.NoError(t, err, m.payload)
				} else {
					require.Equal(t, m.want, bus.CodeOf(err), m.payload)
				}
			})
		}
		all.Wait()
	})
}
