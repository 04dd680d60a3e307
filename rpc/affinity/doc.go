// Package affinity assigns each key to one of several named replicas of a service. For
// example, all calls about a device go to the replica that has the state of the device. It
// is for replicas that each read a topic of their own. Replicas that share one topic do not
// need it: the transport distributes their requests by key (see rpc.Key).
//
// A replica listens on its own topic, and announces itself:
//
//	s, err := rpc.NewServer(b, rpc.WithInstance("core-0"), rpc.WithDiscovery())
//	err = s.Register(rpc.Service{Name: "core", Methods: ...})
//	err = s.Listen(affinity.Topic("core", "core-0"))
//
// A caller watches the announcements:
//
//	w, err := presence.NewWatcher(b)
//	r, err := affinity.NewRouter(w, "core")
//	topic, err := r.Topic(deviceID)
//	d, err := rpc.Call[Device](ctx, c, topic, "Adopt", req, rpc.Key(deviceID))
//
// # How keys are assigned
//
// A [Table] assigns keys to members; the members of a [Router] are the replicas. A table
// has 1117 partitions (a prime). The hash of a key selects its partition. Each partition
// belongs to the member with the highest score for it, among those that are not full. This
// is rendezvous hashing (highest random weight) with bounded load: a member is full when it
// has 1.1 times the mean number of partitions, rounded up. Scores are hashes of member
// names and partition numbers, and the order of the members does not matter. Therefore all
// processes with the same list of members have the same table, independent of earlier
// lists.
//
// When one of N members joins or leaves, about 1/N of the keys must move. This is the
// minimum. In measurements with 1 to 50 members, a table moved at most 1.4 times the
// minimum. VOLTHA's endpoint manager and github.com/buraksezer/consistent use a hash ring
// with virtual nodes. With the same bound (1117 partitions, 117 virtual nodes, load 1.1)
// the ring moved up to 4.3 times the minimum. The reason is that a full member passes
// partitions on to its neighbor, which may then be full too.
//
// In other languages: hash(s) is 64-bit FNV-1a over the bytes of s; mix(x) is x ^= x>>33; x
// *= 0xff51afd7ed558ccd; x ^= x>>33; x *= 0xc4ceb9fe1a85ec53; x ^= x>>33. The partition of
// a key is mix(hash(key)) modulo the number of partitions. The score of member m for
// partition p is mix(hash(m) ^ mix(p+1)). Partitions are assigned in ascending order. If
// scores are equal, the member whose name sorts first gets the partition.
//
// # What it does not do
//
// Callers notice a change at different times: within the interval of the announcements, or
// within the time to live of a replica that crashes. Meanwhile two replicas may get calls
// for one key. The package does not move state, and is not a lock: if at most one replica
// may work on a key, the replicas have to ensure that themselves.
package affinity
