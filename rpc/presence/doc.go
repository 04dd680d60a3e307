// Package presence lists the running instances of services on a bus. Each instance
// announces itself on one topic at an interval. A watcher reads that topic and keeps the
// list.
//
//	a, err := presence.NewAnnouncer(b, presence.Instance{Service: "greeter", ID: "greeter-0", Topics: []string{"greeter"}})
//	defer a.Close()
//
//	w, err := presence.NewWatcher(b)
//	defer w.Close()
//	err = w.Ready(ctx)
//	for _, i := range w.Instances("") { ... }
//
// Servers of package rpc announce themselves with the option rpc.WithDiscovery.
//
// # Semantics
//
// A watcher lists an instance from its first announcement until the instance announces that
// it leaves, or until its time to live has passed without an announcement. The time to live
// is part of the announcement: three intervals and one second. The watcher measures it with
// its own clock, so the clocks of the machines need not agree.
//
// On a transport that keeps a log, a new watcher also reads the announcements of the last
// three intervals and one second. It then lists all running instances at once, and also
// those that crashed within that time. On other transports the list is complete after one
// interval.
//
// While the broker is unavailable no announcements arrive, and the watcher removes
// instances whose time to live has passed, although they may be running. Watcher.Since
// reports since when the watcher has read announcements without interruption.
//
// # What it does not do
//
// Presence is a hint, not a lock: two watchers may have different lists at the same time.
//
// # The wire
//
// An announcement is a message with the header trunkline-presence. Its value is "1 here" or
// "1 gone": the version, one space, and what the message announces. The key is the service,
// "/", and the id of the instance. The payload is JSON:
//
//	{"service": "greeter", "instance": "greeter-0", "version": "1.2.0",
//	 "topics": ["greeter"], "metadata": {"zone": "a"},
//	 "started": "2026-01-02T15:04:05Z", "ttl_ms": 10000}
//
// service (at most 100 bytes) and instance (at most 200 bytes) are required. There are at
// most 256 topics and 64 metadata entries. The payload has at most 32 KiB. ttl_ms is from 1
// to 3,600,000; the default is 10,000. Receivers ignore unknown fields, and messages of
// another version.
package presence
