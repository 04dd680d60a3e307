// Package presence lets instances of services know of each other over a bus: each
// announces itself on one topic again and again, and who watches the topic knows who
// is there.
//
//	a, err := presence.Announce(b, presence.Instance{Service: "greeter", ID: "greeter-0", Topics: []string{"greeter"}})
//	defer a.Close(ctx)
//
//	w, err := presence.Watch(b)
//	defer w.Close(ctx)
//	err = w.Ready(ctx)
//	for _, i := range w.Instances() { ... }
//
// Servers of package rpc announce themselves with rpc.Discoverable.
//
// # Semantics
//
// An instance is there from when its first announcement is read until it says that it
// leaves, or nothing of it was read for its time to live, which it announces: three
// intervals and a second. Times are those of the reader's clock, so clocks may differ.
// A watcher that starts on a transport that keeps a log reads back as far as its own
// time to live, so that it knows of everybody at once, and of those that died lately
// for as long; elsewhere it hears of everybody within an interval. While the broker is
// away nobody is heard, and after their time to live instances are forgotten that may
// live: Ready and Since tell when knowledge begins.
//
// It is a hint, not a lock: two watchers need not know the same at the same moment.
//
// # The wire
//
// An announcement is a message with the header trunkline-presence, "1 here" or "1
// gone": version, one space, what it says. Its key is the service, "/", and the
// instance's id. The payload is JSON:
//
//	{"service": "greeter", "instance": "greeter-0", "version": "1.2.0",
//	 "topics": ["greeter"], "metadata": {"zone": "a"},
//	 "started": "2026-01-02T15:04:05Z", "ttl_ms": 10000}
//
// service and instance are needed, at most 100 and 200 bytes; at most 256 topics, 64
// entries of metadata and 32 KiB in all. ttl_ms is from 1 to 3,600,000; without it 10
// s hold. Fields that are not known are ignored, so is a message of another version.
package presence
