package bustest_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/deadletter"
	"github.com/trunkline/trunkline/testing/bustest"
)

func TestPropertiesMatchWhatWasPublished(t *testing.T) {
	t.Parallel()
	type order struct {
		ID    string
		Lines []int `json:",omitempty"`
	}
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	five := durationpb.New(5 * time.Second)
	wire, err := proto.Marshal(five)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		given, expected bustest.Property
		why             string // why expected does not match; "" if it does
	}{
		"key":                 {bustest.Key("a"), bustest.Key("a"), ""},
		"other key":           {bustest.Key("a"), bustest.Key("b"), `its key is "a"`},
		"no key":              {bustest.Payload("a"), bustest.Key("b"), `it has no key`},
		"payload":             {bustest.Payload("a"), bustest.Payload([]byte("a")), ""},
		"other payload":       {bustest.Payload("a"), bustest.Payload("b"), `its payload is a`},
		"bytes":               {bustest.Payload([]byte{0, 255}), bustest.Payload(""), `its payload is 0x00ff`},
		"empty":               {bustest.Payload(""), bustest.Payload("b"), `its payload is (empty)`},
		"header":              {bustest.Header("a", "b"), bustest.Header("a", "b"), ""},
		"other header":        {bustest.Header("a", "c"), bustest.Header("a", "b"), "its header a is c"},
		"no header":           {bustest.Header("b", "b"), bustest.Header("a", "b"), "it has no header a"},
		"has header":          {bustest.Header("a", "c"), bustest.HasHeader("a"), ""},
		"has no header":       {bustest.Header("a", "c"), bustest.HasHeader("b"), "it has no header b"},
		"UUID":                {bustest.UUID("a"), bustest.UUID("a"), ""},
		"other UUID":          {bustest.UUID("a"), bustest.UUID("b"), "its UUID is a"},
		"partition":           {bustest.Partition(1), bustest.Partition(1), ""},
		"other partition":     {bustest.Partition(0), bustest.Partition(1), "it is in partition 0"},
		"function":            {bustest.Key("a"), bustest.Matching("a short key", func(m bustest.Message) bool { return len(m.Key) == 1 }), ""},
		"function says no":    {bustest.Key("ab"), bustest.Matching("a short key", func(m bustest.Message) bool { return len(m.Key) == 1 }), "it does not match: a short key"},
		"dead letter":         {bustest.Header(deadletter.TopicHeader, "t"), bustest.DeadLetterFrom("t"), ""},
		"other dead letter":   {bustest.Header(deadletter.TopicHeader, "t"), bustest.DeadLetterFrom("u"), "its header trunkline-dead-letter-topic is t"},
		"dead letter's code":  {bustest.Header(deadletter.CodeHeader, "unavailable"), bustest.DeadLetterCode(bus.CodeUnavailable), ""},
		"Protobuf":            {bustest.Payload(wire), bustest.Proto(five), ""},
		"other Protobuf":      {bustest.Proto(wrapperspb.String("a")), bustest.Proto(wrapperspb.String("b")), `its payload is {value:`},
		"no Protobuf":         {bustest.Payload("\xff"), bustest.Proto(wrapperspb.String("b")), "its payload does not decode: proto:"},
		"JSON":                {bustest.JSON(order{"a", []int{1}}), bustest.JSON(raw(`{"Lines": [1], "ID": "a"}`)), ""},
		"JSON null":           {bustest.JSON(nil), bustest.JSON(nil), ""},
		"JSON text":           {bustest.JSON("a"), bustest.JSON("b"), `its JSON is "a", want "b"`},
		"JSON number":         {bustest.JSON(raw(`12345678901234567890`)), bustest.JSON(raw(`12345678901234567891`)), "its JSON is 12345678901234567890, want 12345678901234567891"},
		"JSON member":         {bustest.JSON(order{"a", nil}), bustest.JSON(order{"b", nil}), `in its JSON .ID is "a", want "b"`},
		"JSON too little":     {bustest.JSON(order{"a", nil}), bustest.JSON(order{"a", []int{1}}), `in its JSON .Lines is missing, want [1]`},
		"JSON too much":       {bustest.JSON(order{"a", []int{1}}), bustest.JSON(order{"a", nil}), `in its JSON .Lines is [1], want none`},
		"JSON element":        {bustest.JSON(order{"a", []int{1, 2}}), bustest.JSON(order{"a", []int{1, 3}}), `in its JSON .Lines[1] is 2, want 3`},
		"JSON length":         {bustest.JSON([]int{1}), bustest.JSON([]int{}), `its JSON has 1 elements, want 0`},
		"JSON of other kinds": {bustest.JSON([]int{1}), bustest.JSON(order{}), `its JSON is [1], want {"ID":""}`},
		"JSON list for text":  {bustest.JSON([]int{1}), bustest.JSON("a"), `its JSON is [1], want "a"`},
		"no JSON":             {bustest.Payload("{"), bustest.JSON(1), `its payload is not JSON: unexpected EOF`},
		"two JSONs":           {bustest.Payload("1 2"), bustest.JSON(1), `its payload is not JSON: there is more data after the JSON at byte 3`},
		"nothing to expect":   {bustest.Payload("1"), bustest.JSON(func() {}), `the expected value cannot be encoded as JSON: json: unsupported type: func()`},
		"includes":            {bustest.JSON(raw(`{"a": {"b": 1, "c": [{"d": 1, "e": 2}]}}`)), bustest.JSONIncludes(raw(`{"a": {"c": [{"e": 2}]}}`)), ""},
		"includes not":        {bustest.JSON(raw(`{"a": {"b": 1}}`)), bustest.JSONIncludes(raw(`{"a": {"b": 2}}`)), "in its JSON .a.b is 1, want 2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := runTest(func(t testing.TB) {
				k := bustest.New(t, bustest.WithTopics("in"), bustest.WithPartitions(2))
				k.Consume("in", func(context.Context, *bus.Delivery) error { return nil })
				k.Publish("in", bustest.Partition(0), tt.given)
				k.WaitIdle()
				if tt.why == "" {
					k.ExpectDelivered("in", tt.expected)
					return
				}
				k.ExpectNoneDelivered("in", tt.expected)
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				k.WithContext(ctx).ExpectDelivered("in", tt.expected)
			})
			if tt.why == "" {
				require.Empty(t, got)
				return
			}
			require.Contains(t, got, "\n    "+tt.why)
		})
	}
}
