package producer_test

import (
	"context"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/bus/producer"
	_ "github.com/trunkline/trunkline/transport/memory" // for memory://
)

type order struct{ ID string }

func headers(r *bus.Record) map[string]string {
	all := map[string]string{}
	for _, h := range r.Headers {
		all[h.Key] = h.Value
	}
	return all
}

func TestTyped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	defer w.close()
	p := w.producer()
	orders, err := producer.NewTyped[order](p, codec.JSON, producer.SchemaID("orders-v2"),
		producer.SendDefaults(producer.Header("service", "shop"), producer.Key("nobody")))
	require.NoError(t, err)
	require.Equal(t, p, orders.Producer())
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	report, err := orders.Send(t.Context(), order{"o-1"}, producer.Key("ada"), producer.Header("tenant", "blue"),
		producer.Partition(1), producer.Timestamp(at), producer.UUID("u-1"))
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Partition)
	texts, err := producer.NewTyped[*wrapperspb.StringValue](p, nil)
	require.NoError(t, err)
	receipt, err := texts.SendAsync(t.Context(), wrapperspb.String("text"), producer.Partition(0))
	require.NoError(t, err)
	_, err = receipt.Wait(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Close(t.Context()))

	recs := w.log()
	r := recs[1][0]
	require.JSONEq(t, `{"ID": "o-1"}`, string(r.Payload))
	require.Equal(t, map[string]string{"content-type": "application/json", "trunkline-schema-id": "orders-v2", "service": "shop", "tenant": "blue"}, headers(r))
	require.Equal(t, "ada", string(r.Key))
	require.Equal(t, "u-1", r.UUID)
	require.True(t, at.Equal(r.Timestamp))
	require.Equal(t, map[string]string{"content-type": "application/protobuf"}, headers(recs[0][0]))
}

func TestTypedRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	defer w.close()
	p := w.producer()
	_, err := producer.NewTyped[order](nil, codec.JSON)
	requireCode(t, bus.CodeInvalidArgument, err)
	_, err = producer.NewTyped[order](p, codec.JSON, producer.SchemaID(""))
	requireCode(t, bus.CodeInvalidArgument, err)
	channels, err := producer.NewTyped[chan int](p, codec.JSON)
	require.NoError(t, err)
	r, err := channels.Send(t.Context(), make(chan int))
	requireCode(t, bus.CodeInvalidArgument, err)
	require.Equal(t, err, r.Err)
	_, err = channels.SendAsync(t.Context(), make(chan int))
	requireCode(t, bus.CodeInvalidArgument, err)
	require.NoError(t, p.Close(t.Context()))
}

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://?create=true")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	p, err := producer.New(b, "orders") // the broker may be away
	if err != nil {
		log.Fatal(err)
	}
	type Order struct{ ID, Customer string }
	orders, err := producer.NewTyped[Order](p, codec.JSON, producer.SchemaID("orders-v2"))
	if err != nil {
		log.Fatal(err)
	}

	report, err := orders.Send(ctx, Order{"o-1", "ada"}, producer.Key("ada")) // waits
	fmt.Println(report.Topic, report.Partition, report.Offset, err)
	receipt, err := orders.SendAsync(ctx, Order{"o-2", "ada"}, producer.Key("ada")) // tells later
	if err != nil {
		log.Fatal(err)
	}
	report, err = receipt.Wait(ctx)
	fmt.Println(report.Topic, report.Partition, report.Offset, err)

	if err := p.Close(ctx); err != nil { // sends what is left
		log.Fatal(err)
	}
	// Output:
	// orders 0 0 <nil>
	// orders 0 1 <nil>
}

func ExampleBuffer() {
	ctx := context.Background()
	b, err := bus.Open(ctx, "memory://?create=true")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()
	// A thousand messages may wait for the broker, and 4 MB.
	p, err := producer.New(b, "readings", producer.Buffer(1000, 4_000_000))
	if err != nil {
		log.Fatal(err)
	}
	for i := range 3 {
		if _, err := p.SendAsync(ctx, msg("", name(i))); bus.CodeOf(err) == bus.CodeResourceExhausted {
			fmt.Println("the buffer is full: this reading is dropped")
		}
	}
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	fmt.Println(p.Close(bounded), p.Stats().Sent)
	// Output: <nil> 3
}
