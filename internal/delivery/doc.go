// Package delivery is the engine of a subscription. It fetches records from a transport,
// delivers them to a handler in the order that the options of the subscription choose, and commits
// the prefix of each partition that the handler has acknowledged.
//
// The decisions about a record are in one state machine without goroutines, in state.go. The
// code around it fetches, calls handlers and commits, and reports the results as events. Start
// with the comment of [Engine], which lists the files. Package bus is the public API.
package delivery
