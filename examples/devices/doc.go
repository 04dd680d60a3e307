// Package devices is what the example programs and the demo share: a core that
// adopts devices through an adapter, by RPC over a message bus.
//
// The adapter tells the core that it is there ([MethodRegister]). The core then
// takes each device through three [Step]s, adopt, configure and enable, with one
// call each, keyed by the device's id, so that the calls of a device are handled in
// order and those of different devices side by side.
//
// Both sides check each other. What a step says follows from the device's id alone,
// so the adapter knows what it must have been sent, and refuses, and remembers, a
// call that is out of order or differs. The core knows the answer that must come.
//
// A call may fail, and its outcome be unknown, when the bus is cut off. Steps are
// idempotent, so the core makes the call again: the adapter accepts a repetition of
// the last step, and of no other.
package devices
