// Command bench measures Trunkline beside its peers: watermill's Pub/Subs, sarama,
// franz-go, gRPC and NATS. It is a module of its own, so that they don't become
// dependencies of the library.
//
//	go run .                              everything, on an embedded broker
//	go run . -only rpc -quick             a first look
//	go run . -only consumer               the managed consumer, and the most it could do
//	go run . -brokers h1:9092,h2:9092     publish, consume and RPC on real brokers
//	go run . -md bench.md -svg bench.svg  a table and a picture
//
// Every peer of a scenario is measured once in each round, one after the other, and
// what is printed is the median over the rounds, with the lowest and highest: a
// machine that is busy for a while slows all peers of a round alike. Each peer warms
// up first, and counts what it measures: a lost or failed message fails the run.
//
// The embedded broker is a process of its own, this command again, because clients
// and a broker in one process share a scheduler and a garbage collector. CPU and
// allocations are those of this process: client and server, not the broker.
//
// Payloads have 128 bytes. "like for like" peers have the same sarama configuration,
// the same records and the same acknowledgements; the others are what their users
// get by default.
package main
