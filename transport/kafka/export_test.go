package kafka

// UUIDHeader gives tests the name of the header with a message's UUID.
const UUIDHeader = uuidHeader

// Stats are the counts of a transport's produce requests, retries included, and of the
// records that brokers have acknowledged.
type Stats struct{ ProduceRequests, Produced uint64 }

// StatsOf returns the counts since the transport was made.
func StatsOf(t *Transport) Stats {
	return Stats{ProduceRequests: t.traffic.requests.Load(), Produced: t.traffic.produced.Load()}
}
