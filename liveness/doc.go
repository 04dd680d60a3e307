// Package liveness knows whether a bus can do its work, and tells a probe registry.
//
// A [Watcher] is a hook: it sees every outcome on the bus. A [Monitor] draws the
// conclusions, asks the broker itself when it has heard nothing for a while, and
// keeps one service of a [probe.Registry] up to date:
//
//	watcher := liveness.NewWatcher()
//	b, err := bus.New(transport, bus.WithHooks(watcher))
//	...
//	reg := probe.New()
//	monitor, err := liveness.New(b, watcher, reg)
//	...
//	if err := monitor.Start(); err != nil {
//		return err
//	}
//	defer monitor.Close(ctx)
//	mux.Handle("/", probe.Handler(reg)) // /livez, /readyz, /detailz
//
// Several buses in one process have a watcher and a monitor each, and a service
// each: see [WithServiceName].
//
// # Live, ready, healthy
//
// Live: the broker can be talked to now. Ready: live, and every required
// subscription is assigned ([Monitor.Require], [WithAllSubscriptions]); one that
// loses its assignment while the bus is live, as in a rebalance, has a grace to get
// it back. Healthy: will recover by itself. A lost broker leaves the bus healthy;
// refused credentials, a required subscription that ended with an error, and closing
// do not. The service is
//
//	Preparing  from New
//	Prepared   from Start, until the first verdict
//	Running    while ready
//	NotReady   while not ready, but healthy
//	Failed     while not healthy; it can get out of it, should the broker
//	           accept the credentials after all
//	Stopped    once the monitor or the bus is closed
//
// # How soon
//
// Not live at once when the transport says that every connection is gone. Otherwise,
// connections being open and silent, after two missed probes without a sign of life
// since the first of them began. A sign of life is an acknowledged publish, a commit,
// an assignment, a delivered record (as of the time it was published: records that
// were fetched before the loss prove nothing), Connected, a successful probe.
//
// A probe begins when nothing was heard for the live interval (500 ms), or at once
// when something failed in a way that may mean loss; the next one not-live interval
// (250 ms) after the beginning of the one that was missed, or when that has ended,
// whichever is later. It has the probe time-out (500 ms). So after the last sign of
// life a broker is known to be lost
//
//	silent:  500 + 500 + 500 = 1500 ms   live interval + max(time-out, not-live interval) + time-out
//	refusing connections: 500 + 250 = 750 ms, if the transport does not say it at once
//
// and, as the loss comes anywhere between two signs of life, 1.0 to 1.5 s after the
// loss itself when it is silent. The time-out is counted in 20 steps, and a step that
// comes late, this process being short of CPU, counts as one: so a starved process
// does not take its own waiting for the broker's. A probe is given twice the time-out
// at the most, which makes 2500 ms of the 1500. With losses seen by publishing the
// live interval is not waited for.
//
// Live again at the first sign of life after that, at the latest with
// the first probe that succeeds: one begins every 250 ms, or every 500 ms while they
// time out. While a transport says that it is disconnected, only what began after
// that counts: an acknowledgement that was on its way does not bring the service back.
//
// # Observers
//
// Observation is by level: [Monitor.State], [Monitor.Wait] and [Monitor.Watch] give
// the latest state, and an observer that is slow sees fewer states, never older
// ones. Hooks record and return: whatever an observer, the registry or the monitor
// does, publishing is not held up. A loss and return between two looks of the
// monitor, which come microseconds after the event, may go unseen. [Monitor.History]
// has the last changes with their times and causes.
//
// # Transports that can't be asked
//
// Where Ping is Unsupported, as with package foreign, the bus is presumed to be live
// until two publishes, a not-live interval apart, have failed with no sign of life
// between or since. Then only a sign of life brings it back, and a process that
// publishes only when it is ready may wait for that for ever: give such a bus a
// [WithProbeTopic] or [WithProber].
//
// # Brokers, topics, lag
//
// A [Checker] looks at every broker and at the topics a program needs, now and then, and
// is a service of its own: it knows of trouble that does not keep the bus from being used
// yet. /detailz shows what it found, and with the monitor's service each subscription,
// whether it is assigned, and how far it is behind where the transport knows that. Package
// livenessotel measures all of it.
//
// # What it does not do
//
// It reconnects nothing: transports do that by themselves. It never ends the
// process, and logs nothing.
package liveness
