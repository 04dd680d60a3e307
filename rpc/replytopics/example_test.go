package replytopics_test

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/rpc/replytopics"
	"github.com/trunkline/trunkline/transport/memory"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// The first client crashes: its bus is closed before the client. The second one is alive.
func ExampleFind() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	log, err := memory.NewLog()
	check(err)
	client := func(name string) (*bus.Bus, *rpc.Client) {
		tr, err := memory.New(memory.WithLog(log))
		check(err)
		b, err := bus.New(tr)
		check(err)
		c, err := rpc.NewClient(b, rpc.WithName(name))
		check(err)
		check(c.Ready(ctx))
		return b, c
	}
	crashed, _ := client("crashed")
	check(crashed.Close())
	b, c := client("running")
	defer b.Close()
	defer c.Close()

	topics, err := replytopics.Find(ctx, b, time.Second)
	check(err)
	for _, t := range topics {
		fmt.Println(t.Client, "alive:", t.Alive)
	}
	deleted, err := replytopics.Clean(ctx, b, time.Second)
	check(err)
	for _, t := range deleted {
		fmt.Println("deleted that of", t.Client)
	}
	// Output:
	// crashed alive: false
	// running alive: true
	// deleted that of crashed
}
