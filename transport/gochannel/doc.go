// Package gochannel is a transport within one process. Each subscription behaves as a
// buffered Go channel: ordered and bounded. Reading a message removes it. There is no broker
// and no log.
//
//	t, err := gochannel.New()
//	if err != nil {
//		return err
//	}
//	b, err := bus.New(t)
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//
// Use it when parts of one program exchange messages, and in tests of code that does not
// need replay. If a test needs partitions, groups, offsets or redelivery, use
// transport/memory.
//
// # URLs
//
// The scheme is chan.
//
//	chan://               channels of its own
//	chan://name           the channels with this name, shared within the process
//	chan://name?buffer=64 the same, with another buffer size (default 1024)
//
// The buffer size applies to the subscriptions that are made through this URL, so two
// users of one name can have different sizes. A topic exists as long as it has a
// subscription. Closing a bus ends only its own subscriptions. An unknown parameter, a
// path and more than one name return an InvalidArgument error.
//
// # Message Delivery Semantics
//
// Topics need no creation. A message goes to every subscription that its topic has at that
// moment, and all of them receive the messages of a topic in the same order. The message
// is acknowledged to its publisher when the buffer of each subscription holds it. If the
// topic has no subscription, the message is acknowledged at once and dropped.
//
// Publish waits until every subscription of the topic has space, for as long as the
// context of the message allows. Publishers of one topic wait in order of arrival. A
// message reaches all subscriptions or none: if Publish stops waiting, no subscription
// has received the message, and the outcome is DeadlineExceeded, Canceled or Closed, never
// OutcomeUnknown. The slowest subscription therefore sets the pace of its topic. It does
// not delay other topics, Subscribe or Close, and no memory or goroutines accumulate
// behind it.
//
// When a subscription closes, the messages that it has not handled are lost. Commit does
// nothing. Package bus holds the messages that it delivers again after a Nack.
//
// The timestamp of a record is the one that its publisher set, or the time of Publish. The
// record keeps the headers of the message in their order. (Headers that come from
// watermill metadata have no order, because metadata is a map.) Publish copies the
// payload once, and all subscriptions share the copy.
//
// # What it does not do
//
// There are no groups, no partitions, no replay and no redelivery after a subscription
// has closed. Messages do not leave the process and do not survive it. Package bus returns
// Unsupported for options that need one of these.
//
// # As
//
// The package has no As function: there is no client library behind it.
package gochannel
