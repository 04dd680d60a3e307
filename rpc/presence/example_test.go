package presence_test

import (
	"context"
	"fmt"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc/presence"
	"github.com/trunkline/trunkline/transport/memory"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// A watcher lists the instances that announce themselves, and notices when one leaves.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tr, err := memory.New()
	check(err)
	b, err := bus.New(tr)
	check(err)
	defer b.Close()

	w, err := presence.NewWatcher(b)
	check(err)
	defer w.Close()
	check(w.Ready(ctx))

	changed := w.Changed()
	a, err := presence.NewAnnouncer(b, presence.Instance{Service: "greeter", ID: "greeter-0", Topics: []string{"greeter"}})
	check(err)
	<-changed
	for _, i := range w.Instances("greeter") {
		fmt.Println(i.ID, i.Topics)
	}

	changed = w.Changed()
	check(a.Close())
	<-changed
	fmt.Println(len(w.Instances("greeter")), "instances")
	// Output:
	// greeter-0 [greeter]
	// 0 instances
}
