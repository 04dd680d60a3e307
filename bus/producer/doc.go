// Package producer publishes messages to one topic and reports the outcome of each.
//
// It adds three things to Bus.Publish: a policy for the time in which the broker is
// unavailable, sending without waiting for the outcome, and an ordered shutdown.
//
//	orders, err := producer.New(b, "orders")
//	if err != nil {
//		return err
//	}
//	defer orders.Close() // sends what is still queued
//
//	report, err := orders.Send(ctx, msg)        // waits for the outcome
//	receipt, err := orders.SendAsync(ctx, msg)  // receipt.Wait(ctx) returns the outcome later
//
// [Typed] encodes values and sends them:
//
//	typed, err := producer.NewTyped[Order](orders, codec.JSON, producer.SchemaID("orders-v2"))
//	report, err := typed.Send(ctx, Order{"o-1", "ada"}, producer.Key("ada"))
//
// # When the broker is unavailable
//
// [WithOutagePolicy] sets what the producer does:
//
//   - [Wait], the default: messages wait in the queue until their contexts end. Send and
//     SendAsync block while the queue is full.
//   - [FailFast]: Send and SendAsync return bus.CodeUnavailable as soon as the bus reports
//     that the connection is down. Queued messages fail in the same way.
//   - [Buffer]: messages wait in the queue, by default without a time limit. Send and
//     SendAsync return bus.CodeResourceExhausted at once while the queue is full.
//
// [WithMaxOutstanding] sets the size of the queue. If the broker rejects the credentials,
// messages fail with the broker's error under every policy.
//
// # Delivery semantics
//
// A message is accepted when SendAsync returns a receipt, or when Send starts to wait.
// Every accepted message gets exactly one [Report].
//
// The context of a message bounds its time in the queue. If it ends there, nothing was
// sent, and the report has bus.CodeCanceled or bus.CodeDeadlineExceeded. If it ends after
// the producer has passed the message to the transport, Send returns
// bus.CodeOutcomeUnknown. A receipt still gets the real outcome in that case.
//
// [WithDeliveryTimeout] limits messages whose context has no deadline. If the message must
// be sent even if the request that sends it is canceled, use context.WithoutCancel. The
// span of the message is a child of the span in this context.
//
// The producer sends a message again only when the transport reports that the log does
// not have it (bus.CodeUnavailable). So the producer itself causes no duplicates.
//
// Messages with the same key, or with the same explicit partition, reach the log in the
// order in which they were accepted, also across an outage. The transport can return a
// message as not sent, although it has sent a later one with the same key. In that case the
// earlier message fails with bus.CodeUnavailable, and the producer does not send it again.
// Messages with neither a key nor a partition are sent in order, too, but can change places
// when one of them is sent again.
//
// There is one queue. While a message waits to be sent again, all messages behind it
// wait, whatever their keys.
//
// # What it does not do
//
// Queued messages are in memory, and a crash loses them. A program that must not lose
// messages in a crash needs an outbox in its database. There are no transactions over
// several messages.
package producer
