// Package probe tells the rest of the world whether a process can do its work.
//
// Each part a process depends on (its message bus, its store, a pipeline) is a
// service in a [Registry]. Whoever owns the part calls [Registry.Update] when its
// [Status] changes; whoever needs to know asks, or waits:
//
//	reg := probe.New()
//	reg.Register("message-bus")
//	reg.Register("kv-store")
//
//	reg.Update("message-bus", probe.Running, nil)
//	reg.Update("kv-store", probe.NotReady, errors.New("connection refused"))
//
//	err := reg.WaitReady(ctx) // names kv-store, and says why
//
// Over HTTP, [Handler] puts /livez, /readyz, /healthz, /readz and /detailz on a
// mux of your own, and [Server] serves them on an address of their own. Package
// grpcprobe has the gRPC health service, and interceptors that turn calls away
// while the process is not ready.
//
// # Semantics
//
// Ready means: can do its work now. Not ready takes a process out of load
// balancing, and is expected to pass. Healthy means: will recover by itself. Not
// healthy is a reason to restart it. What makes the whole ready and healthy is
// [DefaultReady] and [DefaultHealthy] unless [WithReadyRule] and
// [WithHealthyRule] say otherwise.
//
// Observation is by level, not by edge: [Registry.Wait] and [Registry.Watch]
// give the latest state, and an observer that is slow sees fewer states, never
// older ones. There are no subscriptions to give back and no queues to fill:
// nothing an observer does, or fails to do, can hold up an Update.
//
// Reads never lock, and an Update that says what is already known costs a look-up,
// so it is fine to call Update for every message.
//
// # What it does not do
//
// It checks nothing itself and has no goroutines: it holds what it is told. It
// keeps no history. It does not damp flapping; who calls Update decides when a
// fault is worth telling.
//
// Causes are shown to whoever can reach the HTTP endpoints: keep secrets out of
// them, and the endpoints inside the cluster.
package probe
