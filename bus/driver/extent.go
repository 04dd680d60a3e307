package driver

// Extent is implemented by a [Partition] that knows where its log ends. It is for
// administration only: delivery does not depend on it, so a wrapper may omit it.
type Extent interface {
	// Extent returns the offset that Fetch continues with, and the offset that the next record
	// of the log will get, as last known. known is false until the transport has learned it.
	// Extent does not ask the broker and does not block. It may be called during Fetch.
	Extent() (next, end int64, known bool)
}
