// Package affinity gives each key one of N named replicas of a service: all calls
// about a device, say, go to the replica that has its state. It is for replicas that
// read topics of their own; where they share one topic, the transport's own
// partitioning by key does it (see rpc.Key).
//
// A replica serves the topic that is its own, and announces itself:
//
//	s, err := rpc.NewServer(b, rpc.WithInstance("core-0"), rpc.WithDiscovery())
//	err = s.Register(rpc.Service{Name: "core", Methods: ...})
//	_, err = s.Start(ctx, affinity.Topic("core", "core-0"))
//
// A caller follows who is there:
//
//	w, err := presence.NewWatcher(b)
//	r, err := affinity.NewRouter(w, "core")
//	topic, err := r.Topic(deviceID)
//	d, err := rpc.Call[Device](ctx, c, topic, "Adopt", req, rpc.Key(deviceID))
//
// # How a key finds its member
//
// A [Table] has 1117 partitions (a prime). A key belongs to a partition by its hash. A
// partition belongs to the member with which it scores highest of those that have
// room: highest-random-weight, or rendezvous, hashing with a bounded load. No member
// has more than 1.1 times the mean, rounded up. Scores come from hashes of names and
// numbers alone, and the order of the members does not matter, so that every process
// that knows the same members gives the same answer, whatever it knew before.
//
// When one of N members comes or goes the share of the keys that moves is about what
// must, 1/N; measured from 1 to 50 members it is at most 1.4 times that. A ring with
// virtual nodes and the same bound, as VOLTHA's endpoint manager and
// github.com/buraksezer/consistent have it (1117 partitions, 117 virtual nodes, load
// 1.1), moves up to 4.3 times the ideal share there, as its bound pushes partitions from
// neighbour to neighbour. That is why this package has neither ring nor library.
//
// In other languages: hash(s) is FNV-1a of 64 bits over the bytes of s; mix(x) is
// x ^= x>>33; x *= 0xff51afd7ed558ccd; x ^= x>>33; x *= 0xc4ceb9fe1a85ec53; x ^= x>>33.
// A key's partition is mix(hash(key)) modulo the number of partitions. The score of
// member m with partition p is mix(hash(m) ^ mix(p+1)). Partitions are given out from 0
// on; equal scores go to the name that sorts first.
//
// # What it does not do
//
// Callers learn of a change one after the other, within an announcing interval or, when
// a replica dies, its time to live: meanwhile two replicas may get calls for one key.
// It moves no state, and is no lock: a replica that must be the only one has to make
// sure of that itself.
package affinity
