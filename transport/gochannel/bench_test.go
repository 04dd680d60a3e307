package gochannel_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/gochannel"
)

type discard struct{}

func (discard) Published(*driver.Outgoing, driver.Outcome) {}

// BenchmarkTransport measures one message from Publish to Fetch, without package bus.
func BenchmarkTransport(b *testing.B) {
	tr, err := gochannel.New()
	require.NoError(b, err)
	defer tr.Close(context.Background())
	s, err := tr.Subscribe(b.Context(), driver.Subscription{Topic: "t", MaxFetch: 64})
	require.NoError(b, err)
	e, err := s.Next(b.Context())
	require.NoError(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; n < b.N; {
			records, err := e.Added[0].Fetch(context.Background())
			if err != nil {
				return
			}
			n += len(records)
		}
	}()
	batch := []driver.Outgoing{{
		Context: context.Background(), Topic: "t", Partition: driver.AnyPartition, Sink: discard{},
		UUID: "id", Payload: make([]byte, 128),
	}}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		tr.Publish(batch)
	}
	<-done
}

// BenchmarkBus measures one message through package bus, from Publish to a handler.
func BenchmarkBus(b *testing.B) {
	tr, err := gochannel.New()
	require.NoError(b, err)
	x, err := bus.New(tr)
	require.NoError(b, err)
	defer x.Close()
	done := make(chan struct{})
	n := 0
	_, err = x.Consume(b.Context(), "t", func(context.Context, *bus.Delivery) error {
		if n++; n == b.N {
			close(done)
		}
		return nil
	})
	require.NoError(b, err)
	payload := make([]byte, 128)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := x.Publish("t", message.NewMessage("id", payload)); err != nil {
			b.Fatal(err)
		}
	}
	<-done
}
