package driver

// Extent is implemented by a [Partition] that knows where its log ends. It is for
// administration only: delivery does not depend on it, and a decorator that hides it
// hides nothing else.
type Extent interface {
	// Extent returns the offset that Fetch goes on at, and the one that the next record of
	// the log gets, as last heard; known is false while nothing was heard. It asks nobody,
	// does not block, and may be called while Fetch runs.
	Extent() (next, end int64, known bool)
}
