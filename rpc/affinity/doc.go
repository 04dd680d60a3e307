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
// # How a key finds its replica
//
// A [Table] assigns keys to members; the members of a [Router] are the replicas. A table has
// 1117 partitions (a prime). The hash of a key selects its partition. Each partition belongs
// to the member with the highest score for it, among those that are not full. This is
// rendezvous hashing (highest random weight) with bounded load: a member is full with 1.1
// times the mean number of partitions, rounded up. Scores are hashes of member names and
// partition numbers, and the order of the members does not matter. Therefore all processes
// with the same list of members have the same table, whatever lists they had before.
//
// When one of N members joins or leaves, about 1/N of the keys move, which is the minimum.
// Measured from 1 to 50 members, at most 1.4 times the minimum move. A hash ring with virtual
// nodes and the same bound (1117 partitions, 117 virtual nodes, load 1.1), as VOLTHA's
// endpoint manager and github.com/buraksezer/consistent have it, moves up to 4.3 times the
// minimum, because its bound passes partitions on from neighbor to neighbor.
//
// In other languages: hash(s) is 64-bit FNV-1a over the bytes of s; mix(x) is x ^= x>>33;
// x *= 0xff51afd7ed558ccd; x ^= x>>33; x *= 0xc4ceb9fe1a85ec53; x ^= x>>33. The partition of
// a key is mix(hash(key)) modulo the number of partitions. The score of member m for
// partition p is mix(hash(m) ^ mix(p+1)). Partitions are assigned in ascending order; of
// equal scores the name that sorts first wins.
//
// # What it does not do
//
// Callers notice a change at different times: within the interval of the announcements, or
// within the time to live of a replica that crashes. Meanwhile two replicas may get calls for
// one key. The package moves no state and is no lock: if at most one replica may work on a
// key, the replicas have to ensure that themselves.
package affinity
