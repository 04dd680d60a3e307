// Package readiness measures how soon, and how reliably, a program reports the loss of its
// brokers. One test breaks a real cluster. Others run on the in-memory transport with
// testing/synctest. The package has tests only. With the environment that the cluster
// command prints, go test -v prints the figures:
//
//	go build -o /tmp/cluster ./testing/kafkatest/cluster
//	eval "$(/tmp/cluster up)"
//	go test -v -count=1 -timeout 10m ./testing/readiness                  # four minutes
//	go test -v -count=1 -timeout 1h ./testing/readiness -readiness.long -readiness.rounds 20
//	/tmp/cluster down
//
// # What is measured
//
// One process has two buses with the default options; each is a service in one registry.
// The first bus publishes all the time, and consumes in a group that must be assigned for the
// program to be ready. The second bus is idle. During the whole test, slow observers and stuck
// observers are attached to everything that can be observed. The events and their effects are:
//
//	all brokers killed             not ready, 1.5 s after the last connection to a broker broke
//	all brokers available again    ready, 2 s after the first produce of an independent client with acks=all
//	one broker of three killed     ready all the time, and while the broker comes back
//	all brokers paused (SIGSTOP)   not ready, 3 s after the first broker was paused
//	network drops bytes            not ready, 3 s
//	network resets connections     not ready, 1.5 s
//	all cores busy                 ready all the time
//
// The times are targets for the 99th percentile. The test prints the measured times. It fails
// only if a time is a multiple of its target, so that it passes on a busy machine. It also fails
// if a bus does not reach a status, if a bus does not stay ready where it should, and if a
// status changes without a cause. It counts changes with [liveness.Monitor.Transitions], which
// also counts short changes.
//
// During the whole test, clients also poll the HTTP probes and the gRPC health service, watch the
// health service, and make gRPC calls that a grpcprobe.Gate guards. Each of them must report a
// change within 50 ms after the registry.
package readiness
