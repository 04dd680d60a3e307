// Package livenessotel measures with OpenTelemetry what a liveness monitor and a checker
// know of a bus.
//
//	monitor, err := liveness.Attach(b, reg)
//	...
//	metrics, err := livenessotel.New(monitor)
//	if err != nil {
//		return err
//	}
//	defer metrics.Close()
//
// The zero options use the global meter provider; nothing is measured before the program
// sets one. A dashboard for Grafana and alert rules for Prometheus that use these
// metrics are in docs/monitoring.
//
// # Metrics
//
// Each has the attribute trunkline.service.name: the service's name in the registry,
// which tells the buses of a process apart.
//
//	trunkline.liveness.live              gauge      1 while the broker can be talked to, else 0
//	trunkline.liveness.ready             gauge      1 while live, and every required subscription is assigned, else 0
//	trunkline.liveness.healthy           gauge      1 unless it won't recover by itself, else 0
//	trunkline.liveness.transitions       counter    how often the service entered trunkline.service.status
//	trunkline.liveness.ping.duration    histogram  s, of active probes; error.type for those without an answer
//	trunkline.liveness.last_success.age  gauge      s since the broker's last sign of life; absent before the first
//	trunkline.subscription.assigned      gauge      1 while the subscription is assigned, else 0
//	trunkline.subscription.lag           gauge      records not acknowledged, by partition, where the transport knows it
//
// and with [WithChecker], for the checker's service:
//
//	trunkline.check.passed               gauge      1 if the last check passed, else 0
//	trunkline.check.brokers              gauge      brokers, by trunkline.broker.state: up or down
//	trunkline.check.partitions           gauge      partitions of the topics that were looked at, by trunkline.partition.state: in_sync, under_replicated or leaderless
//
// subscription.* have messaging.destination.name and, with a group,
// messaging.consumer.group.name; lag has messaging.destination.partition.id too.
//
// # Semantics
//
// Gauges and the counter are read when the metrics are collected, without a lock of the
// monitor's being held while they are exported. What came and went between two
// collections shows in the counter. An exporter that hangs delays nothing but itself.
package livenessotel
