package frame_test

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/frame"
)

func TestOnlyTheDetailsOfTheDetailsHeaderCount(t *testing.T) {
	t.Parallel()
	raw, err := proto.Marshal(&spb.Status{Code: 3, Message: "other", Details: []*anypb.Any{{TypeUrl: "t/x", Value: []byte("v")}}})
	require.NoError(t, err)
	raw = protowire.AppendTag(raw, 99, protowire.BytesType) // a field that google.rpc.Status does not have
	raw = protowire.AppendString(raw, "unknown")
	r, err := encode(&frame.Frame{Kind: frame.KindReply, ID: "1"})
	require.NoError(t, err)
	r.Headers = append(r.Headers, bus.Header{Key: frame.HeaderStatus, Value: "5"}, bus.Header{Key: frame.HeaderMessage, Value: "not found"},
		bus.Header{Key: frame.HeaderDetails, Value: base64.StdEncoding.EncodeToString(raw)})
	var f frame.Frame
	require.NoError(t, frame.HeaderWire{}.Decode(r, &f))
	require.Equal(t, codes.NotFound, f.Status.Code())
	require.Equal(t, "not found", f.Status.Message())
	p := f.Status.Proto()
	require.Len(t, p.GetDetails(), 1)
	require.Equal(t, "t/x", p.GetDetails()[0].GetTypeUrl())
	require.Empty(t, p.ProtoReflect().GetUnknown())
}
