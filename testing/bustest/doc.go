// Package bustest tests programs that use a bus, without a broker. A [Kit] has a log in
// memory, a bus on that log for the program under test, and methods that publish messages,
// wait for the program's messages, and check what the program acknowledged:
//
//	func TestBilling(t *testing.T) {
//		t.Parallel()
//		k := bustest.New(t, bustest.WithTopics("orders", "bills"))
//		k.Consume("orders", billing.Handler(k.Bus()), bus.Group("billing"))
//
//		k.Publish("orders", bustest.Key("o-7"), bustest.JSON(Order{ID: "o-7", Cents: 1200}))
//
//		k.Expect("bills", bustest.Key("o-7"), bustest.JSONIncludes(map[string]any{"total": 12}))
//		k.ExpectNone("bills")
//		k.ExpectLag("billing", "orders", 0)
//	}
//
// When an expected message does not arrive, the test fails. The failure lists the messages
// that did arrive, with the reason why each of them does not match, the messages that could
// not be published, and the errors that handlers returned:
//
//	bustest: no message on "bills" with key "o-7", JSON that includes {"total":12} within 10s
//	1 on "bills":
//	  bills[0]@0 key "o-7" {"total":13}
//	    in its JSON .total is 13, want 12
//
// # Features
//
//   - Publish and expect messages: [Kit.Publish], [Kit.Expect] and [Kit.ExpectNone], by key,
//     payload, JSON, Protobuf, header, or with a function. See [Property].
//   - Check deliveries: [Kit.ExpectDelivered] with [Acknowledged], [FailedWith], [Retried],
//     [Dropped], [DeadLettered], [Redelivered] and [ToGroup]. Dead letters are messages: use
//     [Kit.Expect] with [DeadLetterFrom].
//   - Check committed offsets: [Kit.ExpectCommitted] and [Kit.ExpectLag]. [Kit.WaitIdle] waits
//     until every message is acknowledged.
//   - Inspect everything: [Kit.Recorder]. A [Recorder] is a hook, so it also works on a bus
//     that is not a kit's.
//   - Rebalance a group, add a member, crash a member: [Kit.Rebalance], [Kit.NewClient] and
//     [Client.Crash].
//   - Inject failures: [Kit.Faults] makes publishing, fetching and the connection fail.
//     [NewFaults] does the same for any transport.
//   - Control time: inside testing/synctest, [Kit.Advance] moves the time, and timers fire.
//     Outside, [WithClock] sets the timestamps of messages.
//   - Replace an RPC server: [Kit.Stub] replies to calls with a value or an error, at once or
//     after a delay, and keeps the requests.
//   - Compare with golden files: [Kit.Golden] compares published messages with
//     testdata/<name>.golden.
//   - Check for goroutine leaks: [WithGoroutineCheck].
//
// # Semantics
//
// The log is that of transport/memory, which has Kafka's semantics: order, groups, commits
// and redelivery are the same in a test as in production. Each kit has its own log, so tests
// can run in parallel ([testing.T.Parallel]).
//
// The kit counts a message as published when the publisher has its outcome, and as delivered
// when the handler has returned. Expect returns the first message that matches and that no
// earlier Expect has returned. So the order of the Expect calls need not be the order of the
// messages. Expect ignores messages that the test itself published.
//
// Topics must exist, as in production: use [WithTopics]. A topic has one partition unless
// [WithPartitions] or [Kit.CreateTopic] sets another number.
//
// The methods that wait for something do so for 10 seconds. [WithTimeout] changes this for a
// kit, [Kit.WithContext] for one call.
//
// # Faults
//
// [Faults] wraps any transport, and makes it fail according to rules:
//
//	f, err := bustest.NewFaults(transport, 1,
//		bustest.OnPublish("orders", bustest.Nth(3), bustest.Fail(bus.CodeUnavailable)),
//		bustest.OnPublish("", bustest.Probability(0.01), bustest.Duplicate()),
//		bustest.OnFetch("orders", bustest.Every(100), bustest.Delay(50*time.Millisecond)),
//	)
//	b, err := bus.New(f)
//
// A [Rule] has a topic, a condition ([When]) and a fault ([Action]). A test can also cause
// faults directly: [Faults.Disconnect] and [Faults.Connect], [Faults.Rebalance],
// [Faults.ReleaseOutcomes]. In a kit: k.Faults().Inject(bustest.OnPublish(…)).
//
// Faults are reproducible. Whether a rule applies depends only on the seed, the rule's
// position among the injected rules, the topic, and the number of messages (records, for
// OnFetch) of that topic that the rule has counted. Two runs that publish the same messages in
// the same order have the same faults. With concurrent publishers the order differs between
// runs, and so do the faults that each publisher has.
//
// The contract in package driver allows a transport to fail in each of these ways, so a bus on
// Faults keeps all its guarantees. Without rules, and while connected, Faults forwards everything
// unchanged and passes the conformance suite of testing/transporttest.
//
// # What it does not do
//
// The faults do not reach the broker. A group member that [Faults.Disconnect] disconnects
// leaves its group as soon as its handlers have returned, and the other members get its
// partitions without waiting for a session time-out. Use [Client.Crash] for a member that
// crashes.
//
// A kit does not track a program's own goroutines and timers: [Kit.WaitIdle] considers
// messages only. Use testing/synctest to wait for everything.
package bustest
