package liveness_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
	"github.com/trunkline/trunkline/transport/memory"
)

func Example() {
	ctx := context.Background()
	transport, err := memory.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	reg := probe.New()
	monitor, err := liveness.Attach(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer monitor.Close()
	fmt.Println("ready:", reg.WaitReady(ctx) == nil)

	transport.Disconnect(errors.New("the cable was pulled"))
	for s := range monitor.Watch(ctx) {
		if !s.Live {
			fmt.Println(s.Status, "healthy:", s.Status.Healthy(), "cause:", s.Cause)
			break
		}
	}

	transport.Connect()
	fmt.Println("ready:", reg.WaitReady(ctx) == nil)
	// Output:
	// ready: true
	// NotReady healthy: true cause: the cable was pulled
	// ready: true
}

// The service is not ready before the subscription has its assignment.
func ExampleMonitor_Require() {
	ctx := context.Background()
	transport, err := memory.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(transport, bus.WithCreateTopics(bus.TopicSpec{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	reg := probe.New()
	monitor, err := liveness.Attach(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer monitor.Close()

	sub, err := b.Consume(ctx, "orders", func(context.Context, *bus.Delivery) error { return nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	monitor.Require(sub)
	if err := reg.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	assigned, _ := sub.Assigned()
	fmt.Println("ready, and assigned:", assigned)
	// Output:
	// ready, and assigned: true
}

// A program that manages its own goroutines runs the monitor itself.
func ExampleMonitor_Run() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	transport, err := memory.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	reg := probe.New()
	monitor, err := liveness.New(b, reg, liveness.WithServiceName("orders-bus"))
	if err != nil {
		fmt.Println(err)
		return
	}
	status := func() probe.Status {
		s, _ := reg.Snapshot().Service("orders-bus")
		return s.Status
	}
	fmt.Println(status())

	ended := make(chan error, 1)
	go func() { ended <- monitor.Run(ctx) }()
	if err := reg.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(status())
	stop()
	fmt.Println("ended:", <-ended)
	fmt.Println(status())
	// Output:
	// Preparing
	// Running
	// ended: <nil>
	// Stopped
}

// A checker is a service of its own. It reports a topic that does not exist, although the
// bus can be used.
func ExampleAttachChecker() {
	ctx := context.Background()
	transport, err := memory.New()
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	reg := probe.New()
	checker, err := liveness.AttachChecker(b, reg, liveness.CheckSpec{Topics: []string{"orders"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer checker.Close()
	for snap := range reg.Watch(ctx) {
		if s, _ := snap.Service(checker.ServiceName()); s.Status == probe.NotReady {
			fmt.Println(s.Status)
			break
		}
	}

	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "orders"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready:", reg.WaitReady(ctx) == nil)
	// Output:
	// NotReady
	// ready: true
}
