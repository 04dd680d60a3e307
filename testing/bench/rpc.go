package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
)

// caller calls a server that replies with the body of the request. It is safe for concurrent use. After it has
// returned, the body may be reused.
type caller func(ctx context.Context, body []byte) ([]byte, error)

// exchange starts a server and a client. closeBoth closes them.
type exchange func(ctx context.Context, e *env) (call caller, closeBoth func() error, err error)

func rpcScenarios() []scenario {
	type party struct {
		name       string
		base, ours bool
		open       exchange
	}
	inProcess := []party{
		{"Go channels and a map (the floor)", false, false, openChannels},
		{"watermill requestreply, gochannel", false, false, openRequestReply},
		{"mux on watermill gochannel", false, false, openWatermillMux},
		{"gRPC, bufconn", true, false, openGRPC(bufconnListener)},
		{"gRPC, TCP", false, false, openGRPC(tcpListener)},
		{"NATS, embedded server, TCP", false, false, openNATS},
		{"Trunkline on memory", false, true, openOurRPC(ourMemories)},
		{"Trunkline on gochannel", false, true, openOurRPC(ourChannels)},
	}
	onKafka := []party{
		{"mux on sarama, like for like", true, false, openSaramaMux(saramaLikeOurs)},
		{"mux on sarama, its defaults", false, false, openSaramaMux(saramaDefaults)},
		{"mux on franz-go, no linger", false, false, openFranzMux},
		{"Trunkline on Kafka", false, true, openOurRPC(ourKafkas)},
	}
	var scenarios []scenario
	for _, where := range []struct {
		name    string
		kafka   bool
		parties []party
	}{{"in one process", false, inProcess}, {"on Kafka", true, onKafka}} {
		for _, callers := range []int{1, 16, 64, 256} {
			s := scenario{group: "rpc", name: where.name + ", c" + strconv.Itoa(callers), unit: "calls/s", kafka: where.kafka, latency: true}
			for _, p := range where.parties {
				s.peers = append(s.peers, peer{name: p.name, ours: p.ours, base: p.base,
					run: func(ctx context.Context, e *env) (sample, error) { return e.call(ctx, p.open, callers) }})
			}
			scenarios = append(scenarios, s)
		}
	}
	return scenarios
}

// call measures an exchange. It checks that every caller gets its own reply.
func (e *env) call(ctx context.Context, open exchange, callers int) (sample, error) {
	call, closeBoth, err := open(ctx, e)
	if err != nil {
		return sample{}, err
	}
	type state struct {
		body []byte
		n    uint64
		_    [64]byte // no two callers share a cache line
	}
	states := make([]state, callers)
	for i := range states {
		states[i] = state{body: payload(), n: uint64(i) << 40}
	}
	s, err := e.measureRepeated(ctx, callers, 1, func(ctx context.Context, i int) error {
		st := &states[i]
		st.n++
		binary.BigEndian.PutUint64(st.body, st.n)
		reply, err := call(ctx, st.body)
		if err != nil {
			return err
		}
		if len(reply) != len(st.body) || binary.BigEndian.Uint64(reply) != st.n {
			return errors.New("the call got the reply of another call")
		}
		return nil
	})
	return s, errors.Join(err, closeBoth())
}

// openOurRPC starts a client and a server with default options, each on its own bus.
func openOurRPC(buses func(*env) (client, server *bus.Bus, err error)) exchange {
	return func(ctx context.Context, e *env) (caller, func() error, error) {
		cb, sb, err := buses(e)
		if err != nil {
			return nil, nil, err
		}
		topic := e.name("echo")
		fail := func(err error) (caller, func() error, error) {
			return nil, nil, errors.Join(err, cb.Close(), sb.Close())
		}
		if err := sb.EnsureTopic(ctx, bus.TopicSpec{Name: topic, Partitions: partitions}); err != nil {
			return fail(err)
		}
		server, err := rpc.NewServer(sb)
		if err != nil {
			return fail(err)
		}
		if err := rpc.Handle(server, "echo", func(_ context.Context, b *[]byte) (*[]byte, error) { return b, nil }); err != nil {
			return fail(err)
		}
		if err := server.Listen(topic); err != nil {
			return fail(err)
		}
		client, err := rpc.NewClient(cb)
		if err != nil {
			return fail(err)
		}
		if err := errors.Join(server.Ready(ctx), client.Ready(ctx)); err != nil {
			return fail(err)
		}
		call := func(ctx context.Context, body []byte) ([]byte, error) {
			reply, err := rpc.Call[[]byte](ctx, client, topic, "echo", body)
			if err != nil {
				return nil, err
			}
			return *reply, nil
		}
		return call, func() error {
			closing := context.WithoutCancel(ctx)
			errs := []error{client.Close(), server.Shutdown(closing)}
			if sb.Capabilities().Topics {
				errs = append(errs, sb.DeleteTopic(closing, topic))
			}
			return errors.Join(append(errs, cb.Close(), sb.Close())...)
		}, nil
	}
}

// pendings has the pending calls of a hand-written mux.
type pendings struct {
	next    atomic.Uint64
	mu      sync.Mutex
	waiting map[uint64]chan []byte
}

func newPendings() *pendings { return &pendings{waiting: map[uint64]chan []byte{}} }

// call sends a request under a new id and waits for its reply.
func (p *pendings) call(ctx context.Context, send func(id uint64) error) ([]byte, error) {
	id, done := p.next.Add(1), make(chan []byte, 1)
	p.mu.Lock()
	p.waiting[id] = done
	p.mu.Unlock()
	if err := send(id); err != nil {
		return nil, err
	}
	select {
	case reply := <-done:
		return reply, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("call %d: %w", id, ctx.Err())
	}
}

// end passes a reply to its call.
func (p *pendings) end(id uint64, reply []byte) {
	p.mu.Lock()
	done := p.waiting[id]
	delete(p.waiting, id)
	p.mu.Unlock()
	if done != nil {
		done <- reply
	}
}
