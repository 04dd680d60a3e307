package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/test/bufconn"
)

// bytesCodec passes bytes through, so that gRPC does not encode the payload, like the other peers.
type bytesCodec struct{}

var _ encoding.CodecV2 = bytesCodec{}

func (bytesCodec) Name() string { return "bytes" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("%T is not *[]byte", v)
	}
	return mem.BufferSlice{mem.SliceBuffer(*b)}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("%T is not *[]byte", v)
	}
	*b = data.Materialize()
	return nil
}

var echoService = grpc.ServiceDesc{
	ServiceName: "bench.Echo", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var body []byte
			err := decode(&body)
			return &body, err
		}}},
}

type listen func() (net.Listener, []grpc.DialOption, string, error)

func bufconnListener() (net.Listener, []grpc.DialOption, string, error) {
	l := bufconn.Listen(1 << 20)
	dial := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) })
	return l, []grpc.DialOption{dial}, "passthrough:///bufconn", nil
}

func tcpListener() (net.Listener, []grpc.DialOption, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, "", err
	}
	return l, nil, "passthrough:///" + l.Addr().String(), nil
}

func openGRPC(listen listen) exchange {
	return func(context.Context, *env) (caller, func() error, error) {
		l, opts, target, err := listen()
		if err != nil {
			return nil, nil, err
		}
		s := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}))
		s.RegisterService(&echoService, struct{}{})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{})))
		conn, err := grpc.NewClient(target, opts...)
		if err != nil {
			s.Stop()
			return nil, nil, errors.Join(err, <-served)
		}
		call := func(ctx context.Context, body []byte) ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			var reply []byte
			err := conn.Invoke(ctx, "/bench.Echo/Echo", &body, &reply)
			return reply, err
		}
		return call, func() error {
			err := conn.Close()
			s.Stop()
			return errors.Join(err, <-served)
		}, nil
	}
}

// openNATS starts a NATS server in this process, and a client and a responder, each with its own connection.
func openNATS(context.Context, *env) (caller, func() error, error) {
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, nil, err
	}
	s.Start()
	stop := func() { s.Shutdown(); s.WaitForShutdown() }
	if !s.ReadyForConnections(10 * time.Second) {
		stop()
		return nil, nil, errors.New("the NATS server is not ready")
	}
	responder, err := nats.Connect(s.ClientURL())
	if err != nil {
		stop()
		return nil, nil, err
	}
	failed := make(chan error, 1)
	_, err = responder.Subscribe("echo", func(m *nats.Msg) {
		if err := m.Respond(m.Data); err != nil {
			select {
			case failed <- err:
			default: // keep the first error only
			}
		}
	})
	if err == nil {
		err = responder.Flush()
	}
	var client *nats.Conn
	if err == nil {
		client, err = nats.Connect(s.ClientURL())
	}
	if err != nil {
		responder.Close()
		stop()
		return nil, nil, err
	}
	call := func(ctx context.Context, body []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		m, err := client.RequestWithContext(ctx, "echo", body)
		if err != nil {
			return nil, err
		}
		return m.Data, nil
	}
	return call, func() error {
		client.Close()
		responder.Close()
		stop()
		select {
		case err := <-failed:
			return err
		default:
			return nil
		}
	}, nil
}
