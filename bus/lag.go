package bus

// PartitionLag is the lag of a subscription in one partition.
type PartitionLag struct {
	Partition int32
	// Position is the offset of the first record that is not acknowledged.
	Position int64
	// End is the offset that the next record of the log will get, as last known.
	End int64
	// Records is the number of offsets from Position to End. If offsets have gaps, there are
	// fewer records.
	Records int64
}

// Lag returns the lag in each partition that the subscription has, ordered by partition. It omits
// a partition if the end of its log is not known yet, or if the transport does not support it. Lag
// does not ask the broker: End is as of the last fetch, and does not change while the broker is
// unavailable.
func (s *Subscription) Lag() []PartitionLag {
	all := s.engine.Lag()
	lags := make([]PartitionLag, len(all))
	for i, l := range all {
		lags[i] = PartitionLag(l)
	}
	return lags
}
