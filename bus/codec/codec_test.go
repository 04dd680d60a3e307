package codec_test

import (
	"encoding/json"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
)

type order struct{ ID string }

func TestForSelectsCodecByType(t *testing.T) {
	t.Parallel()
	require.Equal(t, codec.Protobuf, codec.For(wrapperspb.String("a")))
	require.Equal(t, codec.Raw, codec.For([]byte{}))
	require.Equal(t, codec.Raw, codec.For(new([]byte)))
	require.Equal(t, codec.JSON, codec.For(order{}))
	require.Equal(t, codec.JSON, codec.For(nil))
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	t.Parallel()
	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		m, err := codec.Encode(nil, order{"o-1"})
		require.NoError(t, err)
		require.NotEmpty(t, m.UUID)
		require.Equal(t, "application/json", m.Metadata.Get(codec.ContentTypeHeader))
		byValue, err := codec.Decode[order](nil, m)
		require.NoError(t, err)
		require.Equal(t, order{"o-1"}, byValue)
		byPointer, err := codec.Decode[*order](codec.JSON, m)
		require.NoError(t, err)
		require.Equal(t, &order{"o-1"}, byPointer)
		anything, err := codec.Decode[any](nil, m)
		require.NoError(t, err)
		require.Equal(t, map[string]any{"ID": "o-1"}, anything)
		raw, err := codec.Decode[json.RawMessage](nil, m)
		require.NoError(t, err)
		require.JSONEq(t, `{"ID": "o-1"}`, string(raw))
	})
	t.Run("Protobuf", func(t *testing.T) {
		t.Parallel()
		m, err := codec.Encode(nil, wrapperspb.String("o-1"))
		require.NoError(t, err)
		require.Equal(t, "application/protobuf", m.Metadata.Get(codec.ContentTypeHeader))
		v, err := codec.Decode[*wrapperspb.StringValue](nil, m)
		require.NoError(t, err)
		require.Equal(t, "o-1", v.GetValue())

		m, err = codec.Encode(codec.JSON, wrapperspb.String("o-2"))
		require.NoError(t, err)
		require.JSONEq(t, `"o-2"`, string(m.Payload))
		v, err = codec.Decode[*wrapperspb.StringValue](codec.JSON, m)
		require.NoError(t, err)
		require.Equal(t, "o-2", v.GetValue())
	})
	t.Run("Raw", func(t *testing.T) {
		t.Parallel()
		payload := []byte("bytes")
		m, err := codec.Encode(nil, &payload)
		require.NoError(t, err)
		v, err := codec.Decode[[]byte](nil, m)
		require.NoError(t, err)
		require.Equal(t, payload, v)
		clear(m.Payload)
		require.Equal(t, "bytes", string(v), "the value does not alias the message")
	})
}

func TestEncodeReportsInvalidArgument(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func() (*message.Message, error){
		"JSON":     func() (*message.Message, error) { return codec.Encode(codec.JSON, make(chan int)) },
		"Protobuf": func() (*message.Message, error) { return codec.Encode(codec.Protobuf, order{}) },
		"Raw":      func() (*message.Message, error) { return codec.Encode(codec.Raw, "text") },
		"Raw, nil": func() (*message.Message, error) { return codec.Encode(codec.Raw, (*[]byte)(nil)) },
	} {
		m, err := f()
		require.Nil(t, m, name)
		require.Equal(t, bus.CodeInvalidArgument, bus.CodeOf(err), name)
		require.ErrorContains(t, err, " as application/", name)
	}
}

func TestDecodeReportsUndecodable(t *testing.T) {
	t.Parallel()
	of := func(contentType, payload string) *message.Message {
		m := message.NewMessage("", []byte(payload))
		m.Metadata.Set(codec.ContentTypeHeader, contentType)
		return m
	}
	for name, f := range map[string]func() error{
		"invalid JSON":        func() error { _, err := codec.Decode[order](codec.JSON, of("", "{")); return err },
		"invalid protobuf":    func() error { _, err := codec.Decode[*wrapperspb.StringValue](nil, of("", "\xff")); return err },
		"not a proto.Message": func() error { _, err := codec.Decode[order](codec.Protobuf, of("", "")); return err },
		"not bytes":           func() error { _, err := codec.Decode[order](codec.Raw, of("", "")); return err },
		"other content type":  func() error { _, err := codec.Decode[order](codec.JSON, of("application/avro", "{}")); return err },
	} {
		err := f()
		require.Equal(t, bus.CodeUndecodable, bus.CodeOf(err), name)
	}
	_, err := codec.Decode[order](codec.JSON, of("Application/JSON ; charset=utf-8", "{}"))
	require.NoError(t, err)
}
