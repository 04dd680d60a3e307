// Package consumerotel measures managed consumers with OpenTelemetry.
//
//	c, err := consumer.New(b, "orders", handle, ...)
//	m, err := consumerotel.New(c)
//	defer m.Close()
//
// # Instruments
//
// Every measurement has the attributes messaging.destination.name and, with a group,
// messaging.consumer.group.name. The list names further attributes after "by".
//
//	trunkline.consumer.state              1 for the current state, 0 for the others; by trunkline.consumer.state
//	trunkline.consumer.transitions        entries into each state; by trunkline.consumer.state
//	trunkline.consumer.paused             1 while the consumer is paused, otherwise 0
//	trunkline.consumer.in_flight          messages whose handlers are running
//	trunkline.consumer.blocked            messages that have failed and cannot be moved to another topic
//	trunkline.consumer.handled            messages that handlers acknowledged
//	trunkline.consumer.failed             failures of messages
//	trunkline.consumer.retried            attempts that are repeated in place
//	trunkline.consumer.postponed          messages that went to a retry topic
//	trunkline.consumer.dead_lettered      messages that went to the dead-letter topic
//	trunkline.consumer.dropped            messages that handlers dropped
//	trunkline.consumer.interrupted        messages whose handlers failed after their context had ended
//	trunkline.consumer.lag                records that are not acknowledged; by messaging.destination.partition.id
//	trunkline.consumer.handler.duration   durations of handler calls, a histogram in seconds; by error.type after an error
//
// In the lag and the durations, messaging.destination.name can be a retry topic. The other
// measurements are about the whole consumer.
//
// # What it does not do
//
// It has no goroutines: the meter provider's reader reads the counters. Without
// [WithMeterProvider] it uses the global meter provider, which records nothing until the
// program sets one. Traces come from package busotel.
package consumerotel
