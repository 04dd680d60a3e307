// Package bustest tests programs that use a bus, without a broker. A [Kit] is a log in
// memory, a bus on it, and what a test wants to know of both:
//
//	func TestBilling(t *testing.T) {
//		t.Parallel()
//		k := bustest.New(t, bustest.Topics("orders", "bills"))
//		k.Consume("orders", billing.Handler(k.Bus()), bus.Group("billing"))
//
//		k.Publish("orders", bustest.Key("o-7"), bustest.JSON(Order{ID: "o-7", Cents: 1200}))
//
//		k.Expect("bills", bustest.Key("o-7"), bustest.Includes(map[string]any{"total": 12}))
//		k.ExpectNone("bills")
//		k.ExpectLag("billing", "orders", 0)
//	}
//
// When a message does not come, the test fails with what did come instead, and why each was
// not it; what could not be published; and what handlers failed with:
//
//	bustest: no message on "bills" with key "o-7", JSON that includes {"total":12} within 10s
//	1 on "bills":
//	  bills[0]@0 key "o-7" {"total":13}
//	    in its JSON .total is 13, want 12
//
// # What there is
//
//   - Publish and expect: [Kit.Publish], [Kit.Expect], [Kit.ExpectNone], by key, payload,
//     JSON, Protobuf, header, or any function: see [Property]. [Kit.Within] bounds the waits
//     by a context, [Patience] otherwise.
//   - What handlers did: [Kit.ExpectDelivered] with [Acknowledged], [Unacknowledged],
//     [Answered], [Redelivered], [ToGroup]; dead letters are messages: [DeadLetterFrom].
//   - What is committed: [Kit.ExpectPosition], [Kit.ExpectLag]; whether all is done:
//     [Kit.Settle].
//   - Everything, to look at: [Kit.Recorder], which is a hook for any other bus, too.
//   - Members that come and go: [Kit.Rebalance], [Kit.NewClient], [Client.Crash].
//   - Failures: [Kit.Faults] makes publishing, fetching and the connection fail; [NewFaults]
//     does it to any transport.
//   - Time: in testing/synctest [Kit.Advance] lets it pass, back-offs and time-outs
//     included, in no time. Outside, [StartClock] is a clock for timestamps.
//   - Servers to call: [Kit.Stub] answers rpc calls with a value, an error, late, and keeps
//     the requests.
//   - Golden files: [Kit.Golden] compares what was published with testdata/<name>.golden.
//   - Goroutines: with [CheckGoroutines] those that a test leaves behind fail it.
//
// # Semantics
//
// The log is transport/memory's, with Kafka's semantics: what a program does here with
// order, groups, commits and redelivery it does there. Each kit has its own, so tests may run
// side by side, and [testing.T.Parallel] is safe. A message counts as published when
// Publish has told its outcome, and as delivered when its handler has returned. Each message
// is expected once, in any order: Expect takes the first that matches, and what the test
// itself has published is not looked at.
//
// Topics have to be made, as in production: [Topics]. They have one partition unless
// [Partitions] says more.
//
// # Faults
//
// [Faults] makes the transport under a bus misbehave, whichever transport that is:
//
//	f, err := bustest.NewFaults(transport, 1,
//		bustest.OnPublish("orders", bustest.Nth(3), bustest.Fail(bus.CodeUnavailable)),
//		bustest.OnPublish("", bustest.Probability(0.01), bustest.Duplicate()),
//		bustest.OnFetch("orders", bustest.Every(100), bustest.Delay(50*time.Millisecond)),
//	)
//	b, err := bus.New(f)
//
// A [Rule] says on which topic, when, and what. Beside the rules a test drives the
// faults by hand: [Faults.Disconnect] and [Faults.Connect], [Faults.Rebalance],
// [Faults.ReleaseOutcomes]. In a kit: k.Faults().Inject(bustest.OnPublish(…)).
//
// Whether a rule applies depends on the seed, the rule's place among those that
// were injected, the topic, and how many messages (records, for OnFetch) of that
// topic the rule has seen. So two runs that publish the same messages in the same
// order meet the same faults. Publishers that race are not in the same order, and
// share out the same faults differently.
//
// Each fault is something that the contract of package driver allows a transport to do,
// so a bus over Faults keeps all its promises. Without rules, and while nothing is
// cut, Faults passes everything on unchanged; the conformance suite runs on it.
//
// # What it does not do
//
// Faults come on top of the transport: the broker itself notices nothing. A member
// of a group that is disconnected here leaves its group in an orderly way once its
// handlers have returned, so others take over without a session time-out; [Client.Crash]
// is a death. A kit does not see what a program's own goroutines and timers are
// about to do: Settle knows of messages only, and testing/synctest of everything.
package bustest
