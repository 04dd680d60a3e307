package producer_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/bus/producer"
)

type order struct{ ID string }

func headers(r *bus.Record) map[string]string {
	all := map[string]string{}
	for _, h := range r.Headers {
		all[h.Key] = h.Value
	}
	return all
}

func TestTypedSendsEncodedValuesWithHeaders(t *testing.T) {
	t.Parallel()
	w := newFixture(t, 2)
	defer w.close()
	p := w.producer()
	orders, err := producer.NewTyped[order](p, codec.JSON, producer.SchemaID("orders-v2"),
		producer.Header("service", "shop"), producer.Key("nobody"))
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
	require.NoError(t, p.Shutdown(t.Context()))

	recs := w.log()
	r := recs[1][0]
	require.JSONEq(t, `{"ID": "o-1"}`, string(r.Payload))
	require.Equal(t, map[string]string{"content-type": "application/json", "trunkline-schema-id": "orders-v2", "service": "shop", "tenant": "blue"}, headers(r))
	require.Equal(t, "ada", string(r.Key))
	require.Equal(t, "u-1", r.UUID)
	require.True(t, at.Equal(r.Timestamp))
	require.Equal(t, map[string]string{"content-type": "application/protobuf"}, headers(recs[0][0]))
}

func TestTypedRejectsInvalidArgumentsAndValues(t *testing.T) {
	t.Parallel()
	w := newFixture(t, 1)
	defer w.close()
	p := w.producer()
	_, err := producer.NewTyped[order](nil, codec.JSON)
	requireCode(t, bus.CodeInvalidArgument, err)
	channels, err := producer.NewTyped[chan int](p, codec.JSON)
	require.NoError(t, err)
	r, err := channels.Send(t.Context(), make(chan int))
	requireCode(t, bus.CodeInvalidArgument, err)
	require.Equal(t, err, r.Err)
	_, err = channels.SendAsync(t.Context(), make(chan int))
	requireCode(t, bus.CodeInvalidArgument, err)
	require.NoError(t, p.Shutdown(t.Context()))
}
