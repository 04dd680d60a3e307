package rpc_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

func frames(t testing.TB) []rpc.Frame {
	st, err := status.New(codes.NotFound, "no port 3: Ω").WithDetails(&errdetails.ErrorInfo{Reason: "PORT"})
	require.NoError(t, err)
	return []rpc.Frame{
		{Kind: rpc.KindRequest, ID: "1", Method: "m", Caller: "c.1", ReplyTo: "r", ReplyPartition: rpc.AnyPartition, Attempt: 1},
		{Kind: rpc.KindRequest, ID: "2", Stream: 9, Method: "m", Caller: "c.1", ReplyTo: "r", ReplyPartition: 3, Key: "k",
			Deadline: time.Unix(1_700_000_000, 123_456_789), Attempt: 2, ContentType: "application/json",
			Metadata: rpc.Metadata{"traceparent": "00-x", "empty": ""}, Body: []byte("{}")},
		{Kind: rpc.KindReply, ID: "2", Caller: "c.1", ReplyPartition: rpc.AnyPartition, Attempt: 2, ContentType: "application/json", Body: []byte("[]")},
		{Kind: rpc.KindReply, ID: "3", Caller: "c.1", ReplyPartition: rpc.AnyPartition, Attempt: 1, Status: st},
		{Kind: rpc.KindCancel, ID: "4", Caller: "c.1", ReplyPartition: rpc.AnyPartition, Attempt: 1},
		{Kind: rpc.KindCredit, ID: "5", Stream: 1, Caller: "c.1", ReplyPartition: rpc.AnyPartition, Attempt: 1},
	}
}

func requireSame(t testing.TB, want, got *rpc.Frame) {
	t.Helper()
	require.True(t, proto.Equal(want.Status.Proto(), got.Status.Proto()), "%v, %v", want.Status, got.Status)
	require.True(t, want.Deadline.Equal(got.Deadline))
	require.Equal(t, string(want.Body), string(got.Body))
	a, b := *want, *got
	a.Status, b.Status, a.Deadline, b.Deadline, a.Body, b.Body = nil, nil, time.Time{}, time.Time{}, nil, nil
	require.Equal(t, a, b)
}

// encode makes a record of f.
func encode(f *rpc.Frame) (*bus.Record, error) {
	r := &bus.Record{}
	err := rpc.HeaderWire{}.Encode(f, r)
	return r, err
}

// setHeader gives r a header, in the place of one of that name.
func setHeader(r *bus.Record, name, value string) {
	r.Headers = slices.DeleteFunc(r.Headers, func(h bus.Header) bool { return h.Key == name })
	r.Headers = append(r.Headers, bus.Header{Key: name, Value: value})
}

func TestFramesSurviveTheWire(t *testing.T) {
	t.Parallel()
	for _, f := range frames(t) {
		m, err := encode(&f)
		require.NoError(t, err)
		var got rpc.Frame
		require.NoError(t, rpc.HeaderWire{}.Decode(m, &got))
		requireSame(t, &f, &got)
	}
}

func TestWhatHeaderWireRefusesToSend(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	many := rpc.Metadata{}
	for i := range 200 {
		many[strings.Repeat("n", i+1)] = ""
	}
	for name, f := range map[string]rpc.Frame{
		"no kind":       {ID: "1"},
		"unknown kind":  {Kind: 99, ID: "1"},
		"id":            {Kind: rpc.KindRequest, ID: long},
		"method":        {Kind: rpc.KindRequest, ID: "1", Method: long},
		"reply topic":   {Kind: rpc.KindRequest, ID: "1", ReplyTo: long},
		"metadata size": {Kind: rpc.KindRequest, ID: "1", Metadata: rpc.Metadata{"a": long}},
		"metadata":      {Kind: rpc.KindRequest, ID: "1", Metadata: many},
		"reserved":      {Kind: rpc.KindRequest, ID: "1", Metadata: rpc.Metadata{"trunkline-key": "k"}},
	} {
		before := f.ID
		_, err := encode(&f)
		requireError(t, err, codes.InvalidArgument, false)
		require.Less(t, len(err.Error()), 300, name)
		require.Equal(t, before, f.ID, "Encode changes nothing")
	}
	st, err := status.New(codes.Internal, "x").WithDetails(&errdetails.ErrorInfo{Reason: long})
	require.NoError(t, err)
	_, err = encode(&rpc.Frame{Kind: rpc.KindReply, ID: "1", Status: st})
	requireError(t, err, codes.InvalidArgument, false)
}

func TestWhatHeaderWireDistrusts(t *testing.T) {
	t.Parallel()
	good := map[string]string{rpc.HeaderFrame: "1 request", rpc.HeaderID: "1", rpc.HeaderCaller: "c", rpc.HeaderReplyTo: "r"}
	reply := map[string]string{rpc.HeaderFrame: "1 reply"}
	for name, tt := range map[string]struct {
		set  map[string]string
		code codes.Code
	}{
		"nothing":        {map[string]string{rpc.HeaderFrame: ""}, codes.InvalidArgument},
		"no version":     {map[string]string{rpc.HeaderFrame: "request"}, codes.InvalidArgument},
		"version":        {map[string]string{rpc.HeaderFrame: "2 request"}, codes.Unimplemented},
		"kind":           {map[string]string{rpc.HeaderFrame: "1 dance"}, codes.Unimplemented},
		"no id":          {map[string]string{rpc.HeaderID: ""}, codes.InvalidArgument},
		"long id":        {map[string]string{rpc.HeaderID: strings.Repeat("1", 129)}, codes.InvalidArgument},
		"long method":    {map[string]string{rpc.HeaderMethod: strings.Repeat("m", 256)}, codes.InvalidArgument},
		"deadline":       {map[string]string{rpc.HeaderDeadline: "soon"}, codes.InvalidArgument},
		"deadline < 0":   {map[string]string{rpc.HeaderDeadline: "-1"}, codes.InvalidArgument},
		"attempt":        {map[string]string{rpc.HeaderAttempt: "0"}, codes.InvalidArgument},
		"partition":      {map[string]string{rpc.HeaderReplyPartition: "-1"}, codes.InvalidArgument},
		"huge partition": {map[string]string{rpc.HeaderReplyPartition: "3000000000"}, codes.InvalidArgument},
		"stream":         {map[string]string{rpc.HeaderStream: "x"}, codes.InvalidArgument},
		"metadata":       {map[string]string{"a": strings.Repeat("a", 64<<10)}, codes.InvalidArgument},
		"status":         {map[string]string{rpc.HeaderStatus: "lots"}, codes.InvalidArgument},
		"message":        {map[string]string{rpc.HeaderStatus: "5", rpc.HeaderMessage: strings.Repeat("m", 16<<10+1)}, codes.InvalidArgument},
		"base64":         {map[string]string{rpc.HeaderStatus: "5", rpc.HeaderDetails: "%"}, codes.InvalidArgument},
		"details":        {map[string]string{rpc.HeaderStatus: "5", rpc.HeaderDetails: "////"}, codes.InvalidArgument},
	} {
		r := &bus.Record{Payload: []byte("body")}
		for name, value := range good {
			setHeader(r, name, value)
		}
		if _, ok := tt.set[rpc.HeaderStatus]; ok {
			for name, value := range reply {
				setHeader(r, name, value)
			}
		}
		for name, value := range tt.set {
			setHeader(r, name, value)
		}
		var f rpc.Frame
		err := rpc.HeaderWire{}.Decode(r, &f)
		requireError(t, err, tt.code, false)
		require.Less(t, len(err.Error()), 300, name)
		require.Equal(t, "r", f.ReplyTo, "what can be read is there: "+name)
	}
}

// Whatever comes in, Decode returns; and what it accepts can be sent on unchanged.
func FuzzHeaderWireDecode(f *testing.F) {
	names := []string{rpc.HeaderFrame, rpc.HeaderID, rpc.HeaderMethod, rpc.HeaderCaller, rpc.HeaderReplyTo, rpc.HeaderReplyPartition, rpc.HeaderDeadline,
		rpc.HeaderAttempt, rpc.HeaderContentType, rpc.HeaderStatus, rpc.HeaderMessage, rpc.HeaderDetails, rpc.HeaderStream}
	const sep = "\x00"
	for _, fr := range frames(f) {
		m, err := encode(&fr)
		require.NoError(f, err)
		values := make([]string, len(names))
		for i, n := range names {
			values[i], _ = m.Header(n)
		}
		f.Add(strings.Join(values, sep), "x-user", "value", []byte(fr.Body))
	}
	f.Fuzz(func(t *testing.T, values, name, value string, body []byte) {
		m := &bus.Record{Payload: body}
		for i, v := range strings.Split(values, sep) {
			if i < len(names) && v != "" {
				setHeader(m, names[i], v)
			}
		}
		if _, taken := m.Header(name); !taken {
			setHeader(m, name, value)
		}
		var got rpc.Frame
		if err := (rpc.HeaderWire{}).Decode(m, &got); err != nil {
			if rpc.CodeOf(err) != codes.InvalidArgument && rpc.CodeOf(err) != codes.Unimplemented {
				t.Fatal(err)
			}
			return
		}
		if got.Kind == rpc.KindReply {
			got.Key = "" // replies are sent without
		}
		if got.ReplyTo == "" {
			got.ReplyPartition = rpc.AnyPartition
		}
		again, err := encode(&got)
		if err != nil {
			if strings.Contains(err.Error(), "status details") {
				return // details may be encoded at more length than they came
			}
			t.Fatalf("%+v: %v", got, err)
		}
		var twice rpc.Frame
		if err := (rpc.HeaderWire{}).Decode(again, &twice); err != nil {
			t.Fatalf("%+v: %v", got, err)
		}
		if got.Status != nil && !proto.Equal(got.Status.Proto(), twice.Status.Proto()) && len(got.Status.Message()) < 16<<10 {
			t.Fatalf("status %v became %v", got.Status, twice.Status)
		}
		got.Status, twice.Status = nil, nil
		requireSame(t, &got, &twice)
	})
}
