// Package consumerotel measures managed consumers with OpenTelemetry.
//
//	c, err := consumer.New(b, "orders", handle, ...)
//	m, err := consumerotel.New(c)
//	defer m.Close()
//
// Its instruments, with messaging.destination.name and messaging.consumer.group.name:
//
//	trunkline.consumer.state              1 for the state it is in, else 0; by trunkline.consumer.state
//	trunkline.consumer.transitions        how often each state was entered; by trunkline.consumer.state
//	trunkline.consumer.paused             1 while handlers are held back
//	trunkline.consumer.in_flight          messages whose handlers run
//	trunkline.consumer.blocked            messages that fail and hold up others, with nowhere to go
//	trunkline.consumer.handled            messages handled
//	trunkline.consumer.failed             failures
//	trunkline.consumer.retried            messages to be handled again in their place
//	trunkline.consumer.postponed          messages that went to a retry topic
//	trunkline.consumer.dead_lettered      messages that went to the dead-letter topic
//	trunkline.consumer.dropped            messages dropped by their handlers
//	trunkline.consumer.interrupted        messages whose handlers were interrupted
//	trunkline.consumer.lag                records behind; by messaging.destination.partition.id
//	trunkline.consumer.handler.duration   histogram in seconds; error.type where it failed
//
// Retry topics are their own messaging.destination.name in the lag and the durations;
// all else is of the consumer as a whole.
//
// It has no goroutines: counters are read when a reader collects. Nothing is recorded
// before the program sets a meter provider.
package consumerotel
