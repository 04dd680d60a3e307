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
	monitor, err := liveness.New(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := monitor.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer monitor.Close(ctx)

	fmt.Println(reg.WaitReady(ctx))

	transport.Disconnect(errors.New("the cable was pulled"))
	for s := range monitor.Watch(ctx) {
		if !s.Live {
			fmt.Println(s.Status, "healthy:", s.Healthy, "cause:", s.Cause)
			break
		}
	}

	transport.Connect()
	fmt.Println(reg.WaitReady(ctx))
	// Output:
	// <nil>
	// NotReady healthy: true cause: the cable was pulled
	// <nil>
}

// The service is ready only while it reads its topic.
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
	monitor, err := liveness.New(b, reg, liveness.WithServiceName("orders-bus"))
	if err != nil {
		fmt.Println(err)
		return
	}

	sub, err := b.Consume(ctx, "orders", func(context.Context, *bus.Delivery) error { return nil })
	if err != nil {
		fmt.Println(err)
		return
	}
	monitor.Require(sub)

	go monitor.Run(ctx)
	fmt.Println(reg.WaitReady(ctx))
	if err := monitor.Close(ctx); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Snapshot().Service("orders-bus")
	fmt.Println(service.Status)
	// Output:
	// <nil>
	// Stopped
}

// Brokers and topics are a service of their own, beside the bus.
func ExampleNewChecker() {
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
	if err := b.EnsureTopic(ctx, bus.TopicSpec{Name: "orders"}); err != nil {
		fmt.Println(err)
		return
	}
	reg := probe.New()
	checker, err := liveness.NewChecker(b, reg, bus.CheckSpec{Topics: []string{"orders"}, MinBrokers: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := checker.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer checker.Close(ctx)
	if err := reg.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Snapshot().Service(checker.ServiceName())
	fmt.Println(service.Status)
	// Output:
	// Running
}
