package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/discovery"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/gochannel"
	"github.com/trunkline/trunkline/transport/kafka"
	"github.com/trunkline/trunkline/transport/memory"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

var transports = map[string]func(t *testing.T) (driver.Transport, error){
	"memory":    func(*testing.T) (driver.Transport, error) { return memory.New() },
	"gochannel": func(*testing.T) (driver.Transport, error) { return gochannel.New() },
	"kafka":     func(t *testing.T) (driver.Transport, error) { return kafka.New(kafkatb.Embedded(t).Addrs()) },
}

type number struct{ N int }

func TestServersAnswerTheQuestionsThatConcernThem(t *testing.T) {
	t.Parallel()
	for name, open := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			tr, err := open(t)
			require.NoError(t, err)
			b, err := bus.New(tr)
			require.NoError(t, err)
			defer b.Close()
			c, err := rpc.NewClient(b)
			require.NoError(t, err)
			defer c.Close()
			none, err := discovery.Ping(ctx, c, discovery.Filter{Timeout: 10 * time.Second}) // returns at once, except on Kafka
			require.NoError(t, err)
			require.Empty(t, none)

			for _, topic := range []string{"adder", "failer"} {
				require.NoError(t, b.EnsureTopic(ctx, bus.TopicSpec{Name: topic}))
			}
			begun := time.Now()
			for i := range 2 {
				s, err := rpc.NewServer(b, rpc.WithDiscovery(), rpc.WithInstance(fmt.Sprint("adder-", i)))
				require.NoError(t, err)
				require.NoError(t, s.Register(rpc.Service{Name: "adder", Version: "1.2", Description: "adds", Metadata: map[string]string{"zone": "a"},
					Methods: []rpc.Method{rpc.NewMethod("Inc", func(_ context.Context, n *number) (*number, error) { return &number{n.N + 1}, nil })}}))
				require.NoError(t, s.Listen("adder"))
				require.NoError(t, s.Ready(ctx))
				defer func() { require.NoError(t, s.Shutdown(ctx)) }()
			}
			failer, err := rpc.NewServer(b, rpc.WithDiscovery())
			require.NoError(t, err)
			require.NoError(t, rpc.Handle(failer, "Fail", func(context.Context, *number) (*number, error) { return nil, errors.New("always") }))
			require.NoError(t, failer.Listen("failer"))
			require.NoError(t, failer.Ready(ctx))
			defer func() { require.NoError(t, failer.Shutdown(ctx)) }()

			for range 7 {
				_, err := rpc.Call[number](ctx, c, "adder", "Inc", &number{1})
				require.NoError(t, err)
			}
			_, err = rpc.Call[number](ctx, c, "failer", "Fail", &number{1})
			require.Equal(t, codes.Unknown, rpc.CodeOf(err))

			// Servers subscribe to the discovery topic in the background.
			var pongs []rpc.Pong
			for len(pongs) < 3 {
				require.NoError(t, ctx.Err())
				pongs, err = discovery.Ping(ctx, c, discovery.Filter{Timeout: 2 * time.Second}, rpc.Expect(3))
				if err != nil {
					require.Equal(t, codes.DeadlineExceeded, rpc.CodeOf(err), err)
				}
			}
			require.Equal(t, []rpc.Pong{{Service: "adder", Instance: "adder-0", Version: "1.2"}, {Service: "adder", Instance: "adder-1", Version: "1.2"},
				{Service: "failer", Instance: failer.ID()}}, pongs)

			infos, err := discovery.Info(ctx, c, discovery.Filter{Instance: "adder-1", Timeout: time.Minute}, rpc.Expect(1))
			require.NoError(t, err)
			require.Len(t, infos, 1)
			require.False(t, infos[0].Started.Before(begun.Add(-time.Second)))
			infos[0].Started = time.Time{}
			require.Equal(t, rpc.ServiceInfo{Service: "adder", Instance: "adder-1", Version: "1.2", Description: "adds", Metadata: map[string]string{"zone": "a"},
				Topics: []string{"adder"}, Methods: []rpc.Method{{Name: "Inc", Request: "discovery_test.number", Response: "discovery_test.number"}}}, infos[0])

			stats, err := discovery.Stats(ctx, c, discovery.Filter{Service: "failer", Timeout: time.Minute}, rpc.Expect(1))
			require.NoError(t, err)
			require.Len(t, stats, 1)
			require.Equal(t, map[string]uint64{"Unknown": 1}, stats[0].Methods[0].Errors)
			require.Equal(t, "always", stats[0].Methods[0].LastError.Message)
			want := uint64(7)
			if !b.Capabilities().Groups {
				want = 14 // every server runs every request
			}
			// A call returns with the first reply. The other server may still run the request.
			for settled := false; !settled; {
				require.NoError(t, ctx.Err())
				stats, err = discovery.Stats(ctx, c, discovery.Filter{Service: "adder", Timeout: time.Minute}, rpc.Expect(2))
				require.NoError(t, err)
				requests, handled := uint64(0), uint64(0)
				for _, s := range stats {
					requests, handled = requests+s.Methods[0].Requests, handled+s.Total.Handled
				}
				require.LessOrEqual(t, requests, want)
				settled = requests == want && handled == want
			}
		})
	}
}

func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tr, err := memory.New()
	if err != nil {
		panic(err)
	}
	b, err := bus.New(tr)
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "greeter"}); err != nil {
		panic(err)
	}
	s, err := rpc.NewServer(b, rpc.WithDiscovery(), rpc.WithInstance("greeter-0"))
	if err != nil {
		panic(err)
	}
	defer s.Close()
	if err := s.Listen("greeter"); err != nil {
		panic(err)
	}
	c, err := rpc.NewClient(b)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	for {
		pongs, err := discovery.Ping(ctx, c, discovery.Filter{}, rpc.Expect(1))
		if err != nil {
			panic(err)
		}
		if len(pongs) > 0 { // the server subscribes to the discovery topic in the background
			fmt.Println(pongs[0].Service, pongs[0].Instance)
			return
		}
	}
	// Output: greeter greeter-0
}
