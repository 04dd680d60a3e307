// Command bench measures Trunkline and its peers: watermill's Pub/Subs, sarama, franz-go, gRPC and
// NATS. It is a separate module, so that the peers are not dependencies of the library.
//
//	go run .                              everything, on an embedded broker
//	go run . -only rpc -quick             a first impression of RPC
//	go run . -only consumer               the managed consumer, and its upper limit
//	go run . -brokers h1:9092,h2:9092     publish, consume and RPC on real brokers
//	go run . -md bench.md -svg bench.svg  tables and a chart
//
// In each round, bench measures every peer of a scenario once, one after the other. It prints the median
// over the rounds, and the lowest and the highest value. A machine that is busy for a while slows down
// all peers of a round, so the ratios stay meaningful. Each peer warms up first. Each peer also counts its
// messages, and the run fails if a message is lost or fails.
//
// The embedded broker is another process of this command, because clients and a broker in one process
// would share a scheduler and a garbage collector. CPU and allocations are those of the clients and the
// server, without the broker.
//
// Payloads have 128 bytes. A peer whose name contains "like for like" has the same sarama configuration, the
// same records and the same acknowledgements as Trunkline. The other peers have their default
// settings, unless their names state another setting.
package main
