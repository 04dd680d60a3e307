package probe_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/trunkline/trunkline/liveness/probe"
)

func Example() {
	reg := probe.New()
	reg.Register("message-bus")
	reg.Register("kv-store")

	reg.Update("message-bus", probe.Running, nil)
	reg.Update("kv-store", probe.NotReady, errors.New("connection refused"))
	fmt.Println("ready:", reg.Ready(), "healthy:", reg.Healthy())
	fmt.Println(reg.Snapshot().Err())

	reg.Update("kv-store", probe.Running, nil)
	fmt.Println("ready:", reg.Ready(), "healthy:", reg.Healthy())
	// Output:
	// ready: false healthy: true
	// not ready: kv-store is NotReady: connection refused
	// ready: true healthy: true
}

func ExampleRegistry_WaitReady() {
	reg := probe.New()
	reg.Update("message-bus", probe.Preparing, nil)

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	fmt.Println(reg.WaitReady(ctx))

	go reg.Update("message-bus", probe.Running, nil)
	fmt.Println(reg.WaitReady(context.Background()))
	// Output:
	// probe: wait until ready: context canceled: not ready: message-bus is Preparing
	// <nil>
}

func ExampleRegistry_Watch() {
	reg := probe.New()
	reg.Update("message-bus", probe.Preparing, nil)

	for snap := range reg.Watch(context.Background()) {
		bus, _ := snap.Service("message-bus")
		fmt.Println(bus.Status)
		if snap.Ready {
			break
		}
		reg.Update("message-bus", probe.Running, nil)
	}
	// Output:
	// Preparing
	// Running
}

// The process is ready as soon as the bus is, even if other services are not.
func ExampleWithReadyRule() {
	reg := probe.New(probe.WithReadyRule(func(services []probe.Service) bool {
		for _, s := range services {
			if s.Name == "message-bus" {
				return s.Status.Ready()
			}
		}
		return false
	}))
	reg.Update("cache", probe.NotReady, errors.New("warming up"))
	reg.Update("message-bus", probe.Running, nil)
	fmt.Println(reg.Ready())
	// Output: true
}

func ExampleUpdateFromContext() {
	connect := func(ctx context.Context) {
		probe.UpdateFromContext(ctx, "message-bus", probe.Preparing, nil)
		// ... connect ...
		probe.UpdateFromContext(ctx, "message-bus", probe.Running, nil)
	}

	reg := probe.New()
	connect(probe.NewContext(context.Background(), reg))
	fmt.Println(reg.Ready())
	// Output: true
}

func ExampleHandler() {
	reg := probe.New()
	reg.Update("kv-store", probe.NotReady, errors.New("connection refused"))
	reg.Update("message-bus", probe.Running, nil)

	answer := httptest.NewRecorder()
	probe.Handler(reg).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil))
	fmt.Println(answer.Code)
	fmt.Print(answer.Body)
	// Output:
	// 503
	// [-]kv-store not ready: connection refused
	// [+]message-bus ok
	// readyz check failed
}

func ExampleServer() {
	reg := probe.New()
	reg.Update("message-bus", probe.Running, nil)
	server, err := probe.NewServer("127.0.0.1:0", reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()

	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + server.Addr().String() + "/readyz")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	fmt.Println(answer.StatusCode, string(body))

	stop()
	fmt.Println(<-ended)
	// Output:
	// 200 ok
	// <nil>
}
