// Package probe reports whether a process can do its work.
//
// Each part that a process depends on (its message bus, its database, a pipeline) is a
// service in a [Registry]. The owner of the part calls [Registry.Update] when its [Status]
// changes. Observers read the registry, or wait for a change:
//
//	reg := probe.New()
//	reg.Register("message-bus")
//	reg.Register("kv-store")
//
//	reg.Update("message-bus", probe.Running, nil)
//	reg.Update("kv-store", probe.NotReady, errors.New("connection refused"))
//
//	err := reg.WaitReady(ctx) // names kv-store and its cause
//
// [Handler] serves /livez, /readyz, /healthz, /readz and /detailz over HTTP on a mux of
// the program, and [Server] on an address of its own. Package grpcprobe has the gRPC
// health service, and interceptors that reject calls while the process is not ready.
//
// # Semantics
//
// Ready means that the process can do its work now. A process that is not ready gets no
// traffic from a load balancer, and is expected to become ready again. Healthy means that
// the process works, or will recover by itself. A process that is not healthy should be
// restarted. [DefaultReady] and [DefaultHealthy] decide both from the services, unless
// [WithReadyRule] or [WithHealthyRule] replaces them.
//
// [Registry.Wait] and [Registry.Watch] return the latest state. A slow observer gets fewer
// states, and never an old one. Observers need not be removed. They have no queues that
// could fill up, so an observer cannot delay an Update.
//
// Reads take no lock. An Update that changes nothing costs one look-up, so a program may
// call Update for every message.
//
// # What it does not do
//
// A registry checks nothing itself and has no goroutines; it keeps what the owners report.
// It keeps no history. It does not suppress flapping: the owner decides which faults to
// report.
//
// The HTTP endpoints show the causes. Do not put secrets into causes, and do not expose the
// endpoints outside of the cluster.
package probe
