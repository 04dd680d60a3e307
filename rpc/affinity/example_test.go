package affinity_test

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/affinity"
	"github.com/trunkline/trunkline/rpc/presence"
	_ "github.com/trunkline/trunkline/transport/memory" // memory://
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// All calls about a device go to the same replica.
func ExampleRouter() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	b, err := bus.Open(ctx, "memory://")
	check(err)
	defer b.Close()

	// Two replicas of the service core. Each has a topic of its own.
	for _, id := range []string{"core-0", "core-1"} {
		topic := affinity.Topic("core", id)
		check(b.EnsureTopic(ctx, bus.TopicSpec{Name: topic}))
		s, err := rpc.NewServer(b, rpc.WithInstance(id), rpc.WithDiscovery())
		check(err)
		check(s.Register(rpc.Service{Name: "core", Methods: []rpc.Method{
			rpc.NewMethod("Adopt", func(_ context.Context, device *string) (*string, error) {
				text := id + " adopts " + *device
				return &text, nil
			}),
		}}))
		check(s.Listen(topic))
		defer s.Close()
	}

	// A caller.
	w, err := presence.NewWatcher(b)
	check(err)
	defer w.Close()
	router, err := affinity.NewRouter(w, "core")
	check(err)
	for {
		changed := w.Changed()
		if len(router.Table().Members()) == 2 {
			break
		}
		<-changed // the replicas announce themselves in the background
	}
	c, err := rpc.NewClient(b)
	check(err)
	defer c.Close()
	for _, device := range []string{"device-1", "device-2", "device-1"} {
		topic, err := router.Topic(device)
		check(err)
		text, err := rpc.Call[string](ctx, c, topic, "Adopt", &device, rpc.Key(device))
		check(err)
		fmt.Println(*text)
	}
	// Output:
	// core-1 adopts device-1
	// core-0 adopts device-2
	// core-1 adopts device-1
}

// A table can be used without a bus. It is the same in every process.
func ExampleTable() {
	before, err := affinity.NewTable([]string{"core-0", "core-1", "core-2"})
	check(err)
	after, err := affinity.NewTable([]string{"core-0", "core-1"})
	check(err)
	for _, key := range []string{"device-1", "device-2"} {
		fmt.Println(key, before.Member(key), after.Member(key))
	}
	fmt.Printf("%.2f of the keys move\n", before.Moved(after))
	// Output:
	// device-1 core-2 core-1
	// device-2 core-2 core-0
	// 0.32 of the keys move
}
