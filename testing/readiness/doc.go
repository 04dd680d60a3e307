// Package readiness measures how soon and how truly a program knows of the loss of its
// brokers: on a real cluster that it breaks, and on the in-memory transport with a clock
// of the test's own. It has tests only; with the environment that the cluster command
// prints, go test -v prints the figures:
//
//	go build -o /tmp/cluster ./testing/kafkatest/cluster
//	eval "$(/tmp/cluster up)"
//	go test -v -count=1 -timeout 10m ./testing/readiness                  # four minutes
//	go test -v -count=1 -timeout 1h ./testing/readiness -readiness.long -readiness.rounds 20
//	/tmp/cluster down
//
// # What is measured
//
// Two buses in one process, each a service in one registry, with the default options:
// one publishes all the time and reads in a group that readiness requires, the other is
// idle. Observers that are slow, or never come back, hang on everything that can be
// observed, all the time. The events, and what is to follow:
//
//	all brokers killed             not ready; 1.5 s after the last connection to a broker broke
//	back                           ready; 2 s after an independent client's produce with acks=all succeeded
//	one broker of three killed     ready all the time, and while it comes back
//	all brokers paused (SIGSTOP)   not ready; 3 s after the first was paused
//	network swallows bytes         not ready; 3 s
//	network resets connections     not ready; 1.5 s
//	both cores busy, brokers fine  ready all the time
//
// The times are targets at the 99th percentile: they are printed, and what is asserted is a
// multiple that a busy machine does not reach. That the state is reached, that the bus
// stays ready where it should, and that there is no change that nothing has caused, is
// asserted as it stands. A change is counted where it is made ([liveness.Monitor.Transitions]),
// so none can come and go unseen.
//
// The HTTP probes, the gRPC health service, its Watch and calls through a gate are asked
// all the time: each is to follow the registry within 50 ms.
package readiness
