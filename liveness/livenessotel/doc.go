// Package livenessotel measures a liveness monitor, and a checker, with OpenTelemetry.
//
//	monitor, err := liveness.Attach(b, reg)
//	...
//	metrics, err := livenessotel.New(monitor)
//	if err != nil {
//		return err
//	}
//	defer metrics.Close()
//
// Without options it uses the global meter provider; nothing is measured before the
// program sets one. docs/monitoring has a Grafana dashboard and Prometheus alert rules for
// these metrics.
//
// # Metrics
//
// Every metric has the attribute trunkline.service.name, the name of the service in the
// registry. It distinguishes the buses of a process.
//
//	trunkline.liveness.live              gauge      1 while the broker answers, else 0
//	trunkline.liveness.ready             gauge      1 while the bus is live and every required subscription is assigned, else 0
//	trunkline.liveness.healthy           gauge      1 while the service works or will recover by itself, else 0
//	trunkline.liveness.transitions       counter    how often the service entered each trunkline.service.status
//	trunkline.liveness.ping.duration     histogram  duration of pings in seconds; failed pings have error.type
//	trunkline.liveness.last_success.age  gauge      seconds since the broker's last sign of life; absent before the first
//	trunkline.subscription.assigned      gauge      1 while the subscription has its assignment, else 0
//	trunkline.subscription.lag           gauge      records not acknowledged, by partition, if the transport supports it
//
// With [WithChecker], for the service of the checker:
//
//	trunkline.check.passed               gauge      1 if the last check passed, else 0
//	trunkline.check.brokers              gauge      brokers, by trunkline.broker.state: up or down
//	trunkline.check.partitions           gauge      partitions of the checked topics, by trunkline.partition.state: in_sync, under_replicated or leaderless
//
// The metrics of subscriptions have messaging.destination.name and, with a group,
// messaging.consumer.group.name. The lag has messaging.destination.partition.id, too.
//
// # Semantics
//
// The gauges and the counter are read when the metrics are collected, so a slow exporter
// does not delay the monitor. The counter includes changes that began and ended between two
// collections.
package livenessotel
