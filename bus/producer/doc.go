// Package producer publishes to one topic of a bus for a program that has other
// things to do than to look after its broker.
//
// A [Producer] may be made while the broker is away, and keeps each message's fate:
// every message that it accepts gets exactly one [Report].
//
//	orders, err := producer.New(b, "orders")
//	report, err := orders.Send(ctx, msg)        // waits for the outcome
//	receipt, err := orders.SendAsync(ctx, msg)  // receipt.Wait(ctx) tells it later
//	err = orders.Close(ctx)                     // sends what is left
//
// [Typed] sends values instead of messages:
//
//	typed, err := producer.NewTyped[Order](orders, codec.JSON, producer.SchemaID("orders-v2"))
//	report, err := typed.Send(ctx, Order{"o-1", "ada"}, producer.Key("ada"))
//
// # While the broker is away
//
//   - [Wait], the default: messages wait under their contexts. Send and SendAsync
//     wait for room once too many do.
//   - [FailFast]: Send and SendAsync fail with bus.CodeUnavailable as soon as the
//     connection is known to be down, and so do messages that were not sent yet.
//   - [Buffer]: messages are kept within a bound, and sent in their order when the
//     broker is back. Beyond the bound Send and SendAsync fail at once with
//     bus.CodeResourceExhausted.
//
// Credentials that are refused are not waited for: messages fail with what the broker
// said.
//
// # The words, exactly
//
// Accepted: SendAsync returned a receipt. Send accepts too, before it waits.
//
// Context: a message's context bounds its wait until it is handed to the transport. A
// message that must outlive the request that made it is sent with
// context.WithoutCancel. One without a deadline gets [WithTimeout]'s. When it ends
// before, nothing was sent, and the report says bus.CodeCanceled or
// bus.CodeDeadlineExceeded. When it ends later, Send returns bus.CodeOutcomeUnknown, and a
// receipt goes on waiting for the truth.
//
// Sent again: only what the transport says is not in the log (bus.CodeUnavailable). So
// the producer makes no duplicates of its own.
//
// Order: messages with one key, or one explicit partition, get into the log in the
// order in which they were accepted, also across an outage. A message that could not
// be sent while a later one of its key was is not sent any more: it fails with
// bus.CodeUnavailable. Messages without either are sent in order as well, but may change
// places when one has to be sent again.
//
// The queue is one: while a message waits to be sent again the ones behind it wait,
// whatever their keys.
//
// # What it does not do
//
// What is buffered is in memory, and gone with the process: a program that must not
// lose a message across its own crash needs an outbox in a database. There are no
// transactions over several messages.
package producer
