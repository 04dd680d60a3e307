package driver

// Extent is implemented by a [Partition] that can report where its log ends. Package bus uses it
// for the lag. Delivery does not depend on it, so a transport that wraps another may omit it.
type Extent interface {
	// Extent returns two offsets: next, with which Fetch continues, and end, which the next record
	// of the log will get. end is as of the last fetch. known is false until the transport has
	// received it. Extent must not ask the broker and must not block. It may be called during Fetch.
	Extent() (next, end int64, known bool)
}
