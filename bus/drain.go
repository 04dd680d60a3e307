package bus

// HandOutOnDrain has Subscription.Close hand to the handler what was fetched and not
// begun, for as long as the drain has time, instead of leaving it: for a handler that
// wants to refuse rather than leave work undone. Nothing new is fetched. Where what is
// left would be delivered to somebody else that is what waits in the window; where it
// would be lost it is all that was fetched. Default: it is left.
func HandOutOnDrain() SubscribeOption {
	return func(c *subscribeConfig) error { c.handOutOnDrain = true; return nil }
}

// AtMostOnce acknowledges and commits each message before its handler is begun, so
// that none is handled twice: one whose commit is not known to have taken is not
// handled here. What the handler returns changes nothing; a message whose handler
// does not end, or fails, is lost, and so are those that were committed and not begun
// when the process dies. Order and the window hold as without it. What was committed
// is handed out on a drain, and after the partition was taken away, too: then the
// handler's context has ended, and the handler is all that is left to tell. Every
// message waits for a commit, which many share.
func AtMostOnce() SubscribeOption {
	return func(c *subscribeConfig) error { c.atMostOnce = true; return nil }
}

// leaves says whether what is fetched and not handled when the subscription ends
// comes to somebody else, or to a later one.
func (s *Subscription) leaves() bool { return s.bus.caps.Redelivery && s.cfg.group != "" }
