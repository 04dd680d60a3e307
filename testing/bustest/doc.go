// Package bustest helps to test programs that use a bus. [Faults] makes the
// transport under the bus misbehave, whichever transport that is:
//
//	f, err := bustest.NewFaults(transport, 1,
//		bustest.OnPublish("orders", bustest.Nth(3), bustest.Fail(bus.Unavailable)),
//		bustest.OnPublish("", bustest.Probability(0.01), bustest.Duplicate()),
//		bustest.OnFetch("orders", bustest.Every(100), bustest.Delay(50*time.Millisecond)),
//	)
//	b, err := bus.New(f)
//
// A [Rule] says on which topic, when, and what. Beside the rules a test drives the
// faults by hand: [Faults.Disconnect] and [Faults.Connect], [Faults.Rebalance],
// [Faults.ReleaseOutcomes].
//
// # What is the same each time
//
// Whether a rule applies depends on the seed, the rule's place among those that
// were injected, the topic, and how many messages (records, for OnFetch) of that
// topic the rule has seen. So two runs that publish the same messages in the same
// order meet the same faults. Publishers that race are not in the same order, and
// share out the same faults differently.
//
// # What the faults are, to the bus
//
// Each is something that the contract of package driver allows a transport to do,
// so a bus over Faults keeps all its promises. Without rules, and while nothing is
// cut, Faults passes everything on unchanged; the conformance suite runs on it.
//
// # What it does not do
//
// Faults come on top of the transport: the broker itself notices nothing. A member
// of a group that is disconnected here leaves its group in an orderly way once its
// handlers have returned, so others take over without a session time-out.
package bustest
