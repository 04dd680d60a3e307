// Package liveness reports whether a message bus can do its work.
//
// [Attach] starts a [Monitor] of a bus. The monitor observes the outcome of every
// operation on the bus, pings the broker when the bus is idle, and keeps one service of a
// [probe.Registry] up to date:
//
//	b, err := bus.Open(ctx, "kafka://localhost:9092")
//	...
//	reg := probe.New()
//	monitor, err := liveness.Attach(b, reg)
//	if err != nil {
//		return err
//	}
//	defer monitor.Close()
//	mux.Handle("/", probe.Handler(reg)) // /livez, /readyz, /detailz
//
// [AttachChecker] starts a [Checker], which checks single brokers and topics, as a
// service of its own. A process with several buses attaches a monitor to each of them;
// [WithServiceName] gives each service its own name.
//
// # Live, ready, healthy
//
// Live: the broker answers now. Ready: the bus is live, and every required subscription
// has its assignment. Healthy: the bus works, or it will recover by itself. A lost broker
// makes the service not ready and leaves it healthy, so it does not restart the process.
//
// The [probe.Status] of the service answers all three questions. A program needs no other
// state. The states of other packages map to it:
//
//	status     ready  healthy  the bus                                      connection    consumer
//	Preparing  no     yes      the monitor does not run yet                 any           starting
//	Prepared   no     yes      no sign of life yet, or waiting for the      connecting    initialising, stopped by Stop
//	                           first assignment
//	Running    yes    yes      live, and every required subscription has    connected     consuming
//	                           its assignment
//	NotReady   no     yes      was ready before, or the broker is lost;     disconnected  starting with a cause, stopping,
//	                           it will recover by itself                                  closing
//	Failed     no     no       the broker rejects the credentials, or a     refused       stopped by an error
//	                           required subscription ended with an error
//	Stopped    no     no       the monitor or the bus is closed             -             closed
//
// The column connection has the states of [driver.Connection], which is what the transport
// reports. The monitor pings the broker, too: if the connections are open and the broker
// does not answer, the state is connected and the status is NotReady. The column consumer
// has the states of a managed consumer (package bus/consumer), whose service reports these
// statuses. A checker is Running while its check passes, with or without a warning as the
// cause, and NotReady while it fails. It is never Failed.
//
// # Required subscriptions
//
// By default readiness depends on every subscription of the bus. A subscription counts from
// its first assignment, or from its first failure to get one, until it is closed or its
// context ends. A subscription that ends with an error makes the service Failed until
// another one on the same topic and group is assigned.
//
// [Monitor.Require] makes readiness depend on a subscription before its first assignment,
// too. Such a subscription counts until it is passed to [Monitor.Ignore], also after it has
// ended. Ignore makes readiness independent of a subscription. With [WithRequiredOnly] only
// the subscriptions that were passed to Require count.
//
// A subscription that loses its assignment while the bus is live, as in a rebalance, has
// a grace period ([WithGrace]) to get it back. There is no grace period before the first
// assignment, nor for an assignment that is lost with the connection.
//
// # Detection times
//
// When the transport reports that every connection is lost, the bus stops being live at
// once. If connections are open and the broker is silent, the bus stops being live when
// two pings in a row have failed without a sign of life since the first of them began. A
// sign of life is a successful ping, publish or commit, an assignment, a new connection, or
// a delivered record. For a record the time at which it was published counts, because the
// record may have waited in a buffer since.
//
// A ping begins when there was no sign of life for the live interval (500 ms), or at once
// when an operation failed in a way that may mean that the broker is lost. After a failed
// ping the next one begins a not-live interval (250 ms) after the start of the failed one,
// or when the failed one has ended, whichever is later. The ping time-out is 500 ms. So
// the loss of a broker is detected, after its last sign of life,
//
//	broker silent          500 + 500 + 500 = 1500 ms   live interval + max(time-out, not-live interval) + time-out
//	connections refused    500 + 250 = 750 ms          if the transport does not report it at once
//
// The loss itself happens up to 500 ms after the last sign of life. So the monitor detects
// a silent broker 1.0 to 1.5 s after the loss. If publishing fails, the first ping does not wait for
// the live interval.
//
// If this process is short of CPU, its own delays must not look like a silent broker. So
// the monitor counts the ping time-out in 20 steps, and a step that comes late counts as
// one step. A ping gets at most twice the time-out, so 1500 ms can become 2500 ms.
//
// The bus is live again at the first sign of life after the loss, at the latest when a ping
// succeeds. A ping begins every 250 ms, or every 500 ms while pings time out. While the
// transport reports that it is disconnected, only an operation that began after the loss
// counts. An acknowledgement of an earlier operation changes nothing.
//
// # Observers
//
// [Monitor.State], [Monitor.Wait] and [Monitor.Watch] return the latest state. A slow
// observer gets fewer states, and never an old one. An observer, the registry and the
// monitor cannot delay publishing or consuming. The monitor may miss a loss that lasts for
// microseconds. [Monitor.History] returns the last changes with times and causes.
//
// A monitor logs when its service stops being ready (WARN; ERROR when it is Failed) and
// when it is ready again (INFO), at most one line a second, with the number of losses
// since the last line.
//
// # Transports without a ping
//
// Where the bus's Ping is unsupported, as with package foreign, the monitor assumes that
// the bus is live. It stops being live when two publishes, at least a not-live interval
// apart, have failed without a sign of life between them or since. Afterwards only a sign
// of life makes it live again. A process that publishes only while it is ready would wait
// forever for that sign: use [WithPingTopic] or [WithPing] in such a process.
//
// # What it does not do
//
// It does not reconnect: transports do that. It does not end the process.
package liveness
