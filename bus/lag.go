package bus

// PartitionLag is how far a subscription is behind in a partition.
type PartitionLag struct {
	Partition int32
	// Position is the offset of the first record that is not acknowledged.
	Position int64
	// End is the offset that the next record of the log will get, as last known.
	End int64
	// Records is the number of offsets from Position to End. The number of records is smaller
	// where the log has gaps.
	Records int64
}

// Lag returns the lag in each partition that the subscription has and whose end the transport
// knows, ordered by partition. It does not ask the broker: the ends are those of the last fetch,
// and without a broker they do not change.
func (s *Subscription) Lag() []PartitionLag {
	all := s.engine.Lag()
	lags := make([]PartitionLag, len(all))
	for i, l := range all {
		lags[i] = PartitionLag(l)
	}
	return lags
}
