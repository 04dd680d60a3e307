package frame_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/frame"
)

func examples(t testing.TB) []frame.Frame {
	st, err := status.New(codes.NotFound, "no port 3: Ω").WithDetails(&errdetails.ErrorInfo{Reason: "PORT"})
	require.NoError(t, err)
	return []frame.Frame{
		{Kind: frame.KindRequest, ID: "1", Method: "m", Caller: "c.1", ReplyTo: "r", ReplyPartition: bus.AnyPartition, Attempt: 1},
		{Kind: frame.KindRequest, ID: "2", Stream: 9, Method: "m", Caller: "c.1", ReplyTo: "r", ReplyPartition: 3, Key: "k",
			Deadline: time.Unix(1_700_000_000, 123_456_789), Attempt: 2, ContentType: "application/json",
			Metadata: map[string]string{"traceparent": "00-x", "empty": ""}, Body: []byte("{}")},
		{Kind: frame.KindRequest, ID: "3", Method: "m", Caller: "c.1", ReplyTo: "r", ReplyPartition: 0, Attempt: 1,
			Server: frame.AnyServer, IdempotencyKey: "once"},
		{Kind: frame.KindReply, ID: "2", Caller: "c.1", ReplyPartition: bus.AnyPartition, Attempt: 2, ContentType: "application/json", Body: []byte("[]")},
		{Kind: frame.KindReply, ID: "3", Caller: "c.1", ReplyPartition: bus.AnyPartition, Attempt: 1, Status: st, Server: "s.1"},
		{Kind: frame.KindCancel, ID: "4", Caller: "c.1", ReplyPartition: bus.AnyPartition, Attempt: 1},
		{Kind: frame.KindCredit, ID: "5", Stream: 1, Caller: "c.1", ReplyPartition: bus.AnyPartition, Attempt: 1},
	}
}

func requireSame(t testing.TB, want, got *frame.Frame) {
	t.Helper()
	require.True(t, proto.Equal(want.Status.Proto(), got.Status.Proto()), "%v, %v", want.Status, got.Status)
	require.True(t, want.Deadline.Equal(got.Deadline))
	require.Equal(t, string(want.Body), string(got.Body))
	a, b := *want, *got
	a.Status, b.Status, a.Deadline, b.Deadline, a.Body, b.Body = nil, nil, time.Time{}, time.Time{}, nil, nil
	require.Equal(t, a, b)
}

func encode(f *frame.Frame) (*bus.Record, error) {
	r := &bus.Record{}
	err := frame.HeaderWire{}.Encode(f, r)
	return r, err
}

// setHeader sets a header of r, and replaces one with the same name.
func setHeader(r *bus.Record, name, value string) {
	r.Headers = slices.DeleteFunc(r.Headers, func(h bus.Header) bool { return h.Key == name })
	r.Headers = append(r.Headers, bus.Header{Key: name, Value: value})
}

// ExampleHeaderWire shows the headers of a request.
func ExampleHeaderWire() {
	var r bus.Record
	err := frame.HeaderWire{}.Encode(&frame.Frame{
		Kind: frame.KindRequest, ID: "7", Method: "Greet", Caller: "client.a",
		ReplyTo: "trunkline.reply.client.a", ReplyPartition: bus.AnyPartition, Attempt: 1,
		ContentType: "application/json", Body: []byte(`{"Name":"Ada"}`),
	}, &r)
	for _, h := range r.Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}
	fmt.Println(string(r.Payload), err)
	// Output:
	// trunkline-rpc-frame: 1 request
	// trunkline-rpc-id: 7
	// trunkline-rpc-method: Greet
	// trunkline-rpc-caller: client.a
	// trunkline-rpc-reply-to: trunkline.reply.client.a
	// trunkline-rpc-content-type: application/json
	// {"Name":"Ada"} <nil>
}

func TestKindNames(t *testing.T) {
	t.Parallel()
	for kind, want := range map[frame.Kind]string{
		0: "kind(0)", frame.KindRequest: "request", frame.KindReply: "reply", frame.KindCancel: "cancel",
		frame.KindMessage: "message", frame.KindCredit: "credit", frame.KindEnd: "end", frame.KindEnd + 1: "kind(7)",
	} {
		assert.Equal(t, want, kind.String())
	}
}

func TestDecodeReturnsWhatEncodeWrote(t *testing.T) {
	t.Parallel()
	for _, f := range examples(t) {
		r, err := encode(&f)
		require.NoError(t, err)
		var got frame.Frame
		require.NoError(t, frame.HeaderWire{}.Decode(r, &got))
		requireSame(t, &f, &got)
	}
}

func TestReplyHasNoKey(t *testing.T) {
	t.Parallel()
	r, err := encode(&frame.Frame{Kind: frame.KindReply, ID: "1", Key: "k"})
	require.NoError(t, err)
	require.Empty(t, r.Key)
}

func TestEncodeOmitsDefaults(t *testing.T) {
	t.Parallel()
	r, err := encode(&frame.Frame{Kind: frame.KindRequest, ID: "1", ReplyPartition: 3, Attempt: 1, Deadline: time.Unix(0, math.MaxInt64).Add(1)})
	require.NoError(t, err)
	require.Equal(t, []bus.Header{{Key: frame.HeaderFrame, Value: "1 request"}, {Key: frame.HeaderID, Value: "1"}}, r.Headers,
		"no partition without a reply topic, no first attempt, no deadline beyond the range of nanoseconds")
}

func TestEncodeTruncatesTheStatusMessage(t *testing.T) {
	t.Parallel()
	r, err := encode(&frame.Frame{Kind: frame.KindReply, ID: "1", Status: status.New(codes.Internal, strings.Repeat("ä", 10_000))})
	require.NoError(t, err)
	text, _ := r.Header(frame.HeaderMessage)
	require.Equal(t, strings.Repeat("ä", 8192), text)
}

func TestEncodeRejectsInvalidFrames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	many := map[string]string{}
	for i := range 200 {
		many[strings.Repeat("n", i+1)] = ""
	}
	big, err := status.New(codes.Internal, "x").WithDetails(&errdetails.ErrorInfo{Reason: long})
	require.NoError(t, err)
	for name, f := range map[string]frame.Frame{
		"no kind":         {ID: "1"},
		"unknown kind":    {Kind: 99, ID: "1"},
		"kind after last": {Kind: frame.KindEnd + 1, ID: "1"},
		"id":              {Kind: frame.KindRequest, ID: long},
		"method":          {Kind: frame.KindRequest, ID: "1", Method: long},
		"reply topic":     {Kind: frame.KindRequest, ID: "1", ReplyTo: long},
		"metadata size":   {Kind: frame.KindRequest, ID: "1", Metadata: map[string]string{"a": long}},
		"metadata count":  {Kind: frame.KindRequest, ID: "1", Metadata: many},
		"reserved name":   {Kind: frame.KindRequest, ID: "1", Metadata: map[string]string{"trunkline-key": "k"}},
		"status details":  {Kind: frame.KindReply, ID: "1", Status: big},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := f.ID
			_, err := encode(&f)
			require.Equal(t, codes.InvalidArgument, status.Code(err))
			require.Less(t, len(err.Error()), 300)
			require.Equal(t, before, f.ID, "Encode does not change the frame")
		})
	}
}

func TestDecodeRejectsInvalidHeaders(t *testing.T) {
	t.Parallel()
	request := map[string]string{frame.HeaderFrame: "1 request", frame.HeaderID: "1", frame.HeaderCaller: "c", frame.HeaderReplyTo: "r"}
	reply := map[string]string{frame.HeaderFrame: "1 reply", frame.HeaderID: "1", frame.HeaderCaller: "c", frame.HeaderReplyTo: "r", frame.HeaderStatus: "5"}
	for name, tt := range map[string]struct {
		valid, set map[string]string
		code       codes.Code
	}{
		"no frame header":    {request, map[string]string{frame.HeaderFrame: ""}, codes.InvalidArgument},
		"no version":         {request, map[string]string{frame.HeaderFrame: "request"}, codes.InvalidArgument},
		"unknown version":    {request, map[string]string{frame.HeaderFrame: "2 request"}, codes.Unimplemented},
		"unknown kind":       {request, map[string]string{frame.HeaderFrame: "1 dance"}, codes.Unimplemented},
		"no id":              {request, map[string]string{frame.HeaderID: ""}, codes.InvalidArgument},
		"long id":            {request, map[string]string{frame.HeaderID: strings.Repeat("1", 129)}, codes.InvalidArgument},
		"long method":        {request, map[string]string{frame.HeaderMethod: strings.Repeat("m", 256)}, codes.InvalidArgument},
		"long caller":        {request, map[string]string{frame.HeaderCaller: strings.Repeat("c", 256)}, codes.InvalidArgument},
		"long server":        {request, map[string]string{frame.HeaderServer: strings.Repeat("s", 256)}, codes.InvalidArgument},
		"long idempotency":   {request, map[string]string{frame.HeaderIdempotencyKey: strings.Repeat("k", 129)}, codes.InvalidArgument},
		"long content type":  {request, map[string]string{frame.HeaderContentType: strings.Repeat("t", 129)}, codes.InvalidArgument},
		"deadline text":      {request, map[string]string{frame.HeaderDeadline: "soon"}, codes.InvalidArgument},
		"negative deadline":  {request, map[string]string{frame.HeaderDeadline: "-1"}, codes.InvalidArgument},
		"attempt 0":          {request, map[string]string{frame.HeaderAttempt: "0"}, codes.InvalidArgument},
		"negative partition": {request, map[string]string{frame.HeaderReplyPartition: "-1"}, codes.InvalidArgument},
		"huge partition":     {request, map[string]string{frame.HeaderReplyPartition: "3000000000"}, codes.InvalidArgument},
		"stream text":        {request, map[string]string{frame.HeaderStream: "x"}, codes.InvalidArgument},
		"large metadata":     {request, map[string]string{"a": strings.Repeat("a", 64<<10)}, codes.InvalidArgument},
		"status text":        {reply, map[string]string{frame.HeaderStatus: "lots"}, codes.InvalidArgument},
		"status over 255":    {reply, map[string]string{frame.HeaderStatus: "256"}, codes.InvalidArgument},
		"long message":       {reply, map[string]string{frame.HeaderMessage: strings.Repeat("m", 16<<10+1)}, codes.InvalidArgument},
		"long details":       {reply, map[string]string{frame.HeaderDetails: strings.Repeat("A", 64<<10+4)}, codes.InvalidArgument},
		"details no base64":  {reply, map[string]string{frame.HeaderDetails: "%"}, codes.InvalidArgument},
		"details no status":  {reply, map[string]string{frame.HeaderDetails: "////"}, codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &bus.Record{Payload: []byte("body")}
			for name, value := range tt.valid {
				setHeader(r, name, value)
			}
			require.NoError(t, frame.HeaderWire{}.Decode(r, &frame.Frame{}), "the record is valid before the change")
			for name, value := range tt.set {
				setHeader(r, name, value)
			}
			var f frame.Frame
			err := frame.HeaderWire{}.Decode(r, &f)
			require.Equal(t, tt.code, status.Code(err))
			require.Less(t, len(err.Error()), 300)
			require.Equal(t, "r", f.ReplyTo, "Decode sets the fields that it could read")
			for _, text := range []string{f.ID, f.Method, f.Caller, f.Server, f.IdempotencyKey, f.ContentType} {
				require.LessOrEqual(t, len(text), frame.MaxName, "a text that is too long is dropped")
			}
		})
	}
}

func TestDecodeAcceptsTextsAtTheirBounds(t *testing.T) {
	t.Parallel()
	f := frame.Frame{Kind: frame.KindRequest, ID: strings.Repeat("i", 128), Method: strings.Repeat("m", frame.MaxName), Attempt: 1,
		ReplyPartition: bus.AnyPartition, IdempotencyKey: strings.Repeat("k", frame.MaxIdempotencyKey), ContentType: strings.Repeat("t", frame.MaxContentType),
		Metadata: map[string]string{"a": strings.Repeat("a", 64<<10-1)}}
	r, err := encode(&f)
	require.NoError(t, err)
	var got frame.Frame
	require.NoError(t, frame.HeaderWire{}.Decode(r, &got))
	requireSame(t, &f, &got)
}

func TestStatusZeroIsSuccess(t *testing.T) {
	t.Parallel()
	r, err := encode(&frame.Frame{Kind: frame.KindReply, ID: "1"})
	require.NoError(t, err)
	setHeader(r, frame.HeaderStatus, "0")
	var f frame.Frame
	require.NoError(t, frame.HeaderWire{}.Decode(r, &f))
	require.Nil(t, f.Status)
}

func TestLastOfRepeatedHeadersCounts(t *testing.T) {
	t.Parallel()
	r, err := encode(&frame.Frame{Kind: frame.KindRequest, ID: "1", Metadata: map[string]string{"user": "first"}})
	require.NoError(t, err)
	r.Headers = append(r.Headers, bus.Header{Key: frame.HeaderID, Value: "2"}, bus.Header{Key: "user", Value: "last"},
		bus.Header{Key: "trunkline-unknown", Value: "ignored"})
	var f frame.Frame
	require.NoError(t, frame.HeaderWire{}.Decode(r, &f))
	require.Equal(t, "2", f.ID)
	require.Equal(t, map[string]string{"user": "last"}, f.Metadata)
}

// FuzzHeaderWireDecode checks that Decode returns for any input, and that a frame which it
// accepts can be encoded and decoded again without a change.
func FuzzHeaderWireDecode(f *testing.F) {
	names := []string{frame.HeaderFrame, frame.HeaderID, frame.HeaderMethod, frame.HeaderCaller, frame.HeaderReplyTo, frame.HeaderReplyPartition, frame.HeaderDeadline,
		frame.HeaderAttempt, frame.HeaderContentType, frame.HeaderStatus, frame.HeaderMessage, frame.HeaderDetails, frame.HeaderStream}
	const sep = "\x00"
	for _, fr := range examples(f) {
		r, err := encode(&fr)
		require.NoError(f, err)
		values := make([]string, len(names))
		for i, n := range names {
			values[i], _ = r.Header(n)
		}
		f.Add(strings.Join(values, sep), "x-user", "value", fr.Body)
	}
	f.Fuzz(func(t *testing.T, values, name, value string, body []byte) {
		r := &bus.Record{Payload: body}
		for i, v := range strings.Split(values, sep) {
			if i < len(names) && v != "" {
				setHeader(r, names[i], v)
			}
		}
		if _, taken := r.Header(name); !taken {
			setHeader(r, name, value)
		}
		var got frame.Frame
		if err := (frame.HeaderWire{}).Decode(r, &got); err != nil {
			if code := status.Code(err); code != codes.InvalidArgument && code != codes.Unimplemented {
				t.Fatal(err)
			}
			return
		}
		if got.Kind == frame.KindReply {
			got.Key = "" // replies are sent without a key
		}
		if got.ReplyTo == "" {
			got.ReplyPartition = bus.AnyPartition
		}
		again, err := encode(&got)
		if err != nil {
			if strings.Contains(err.Error(), "status details") {
				return // the encoding of details may be longer than it was
			}
			t.Fatalf("%+v: %v", got, err)
		}
		var twice frame.Frame
		if err := (frame.HeaderWire{}).Decode(again, &twice); err != nil {
			t.Fatalf("%+v: %v", got, err)
		}
		if got.Status != nil && !proto.Equal(got.Status.Proto(), twice.Status.Proto()) && len(got.Status.Message()) < 16<<10 {
			t.Fatalf("status %v was decoded again as %v", got.Status, twice.Status)
		}
		got.Status, twice.Status = nil, nil
		requireSame(t, &got, &twice)
	})
}
