// Package kafka is the transport of a bus on Apache Kafka, by way of IBM/sarama.
//
//	t, err := kafka.New([]string{"kafka-1:9092", "kafka-2:9092"}, kafka.WithClientID("orders"))
//	if err != nil {
//		return err // something is wrong here; an absent broker is no error
//	}
//	b, err := bus.New(t, bus.WithSubscribeDefaults(bus.Group("orders")))
//
// Its records are those of watermill-kafka's DefaultMarshaler, so services on either
// read each other's. Another marshaler of watermill-kafka's, or [RawMarshaler] for
// records without headers, is set with [WithMarshaler] or, for one topic, with
// [WithTopicMarshaler].
//
// # URLs
//
// For bus.Open the package registers the scheme kafka, with brokers separated by
// commas:
//
//	kafka://kafka-1:9092,kafka-2:9092?client_id=orders&group=orders
//
// The parameters are client_id, version (of the protocol: 2.8.0 by default),
// dial_timeout, request_timeout and refresh (see [Timeouts]), besides those of package
// bus, and
//
//	compression         none, gzip, snappy, lz4 or zstd; see WithCompression
//	linger              WithLinger
//	max_message_bytes   WithMaxMessageBytes
//	delivery_timeout    WithDeliveryTimeout
//	balance             cooperative-sticky, range, roundrobin or sticky; see WithBalance
//	instance_id         WithStaticMembership
//	rack                WithRack
//	read_committed=true WithReadCommitted
//	fetch_min_bytes, fetch_bytes, fetch_wait
//	                    WithFetch
//
// and for security
//
//	tls=true                   WithTLSFrom; the next four need it
//	ca, cert, key              PEM files
//	server_name                what the brokers' certificates must be for
//	sasl                       plain, scram-sha-256, scram-sha-512 or oauthbearer
//	user                       who logs in; not with oauthbearer
//	password_file, token_file  the file with the secret
//	password_env, token_env    or the environment variable with it
//	insecure_sasl=true         WithInsecureSASL
//
// A secret itself has no place in a URL, and a parameter for it is an unknown one.
//
// # Security
//
//	t, err := kafka.New(brokers,
//		kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile("/etc/kafka/ca.pem")}),
//		kafka.WithSASLScramSHA512("orders", password))
//
// Without options connections are plain text. [WithTLSFrom] encrypts, verifies the
// brokers' certificates, and shows one of its own if it has one (mTLS); [WithTLS] takes
// a configuration from crypto/tls. Logins are by [WithSASLPlain], [WithSASLScramSHA256],
// [WithSASLScramSHA512] and [WithSASLOAuthBearer]. PLAIN and OAUTHBEARER, which hand the
// secret to whoever answers, need TLS unless [WithInsecureSASL] says otherwise. SCRAM
// logins also make the broker prove that it knows the password.
//
// A password or token comes from a function that is called for each connection, see
// [Secret], [SecretFile] and [SecretEnv]; PEM files are read for each as well. So what
// is rotated is picked up, at the latest when the old one is refused. Secrets appear in
// no error, no log and no printed value of this package.
//
// What is wrong with files and options is an error of New. What the brokers or TLS
// refuse, a wrong password as well as a certificate that can't be trusted, on either
// side, is the state Refused, with the code Unauthenticated and what to do about it:
// Ready and Publish return it, a session's event tells it, and it is tried again every
// few seconds until it is put right. A broker that just hangs up, as one does that
// expects TLS or a login and finds none, can't be told from one that goes down; that is
// Unavailable, with a hint.
//
// # Message Delivery Semantics
//
// A message is published when every in-sync replica has it (acks=all), once, also when
// it was sent more than once (an idempotent producer), and in order within its
// partition. Its partition is the one that it names; else the one that Java's
// default partitioner chooses for its key; else any, the same for all that is published
// together and for what comes while some of it is under way: few and large requests are
// what makes Kafka fast. A lone message waits for no company; [WithLinger] makes it.
// What a broker turns down for now is tried again for [WithDeliveryTimeout]. Topics are never created by accident: a message to an unknown one fails, within
// a second, with NotFound.
//
// With a group, delivery is at least once: what was not committed is delivered again,
// to this member or another. A commit succeeds when the coordinator said so. A revoked
// partition goes to the next member when its handlers have ended, for which they have
// the rebalance time-out, and what they committed until then counts. A partition
// without a commit begins where the subscription says; unless that is the oldest
// record, the resolved position is committed before the subscription is ready. A
// committed position that retention has passed, or that is beyond the end of a topic
// that was made anew, goes on at the oldest record that is there. A partition that is
// added later is read from its beginning.
//
// Partitions are shared out by [CooperativeSticky] where every member allows it: a
// rebalance stops only those that move, and the subscription stays assigned meanwhile.
// See [WithBalance] for a group with members on other libraries, and
// [WithStaticMembership] for restarts without a rebalance.
//
// Without a group every partition is read, or those that were asked for, from a number
// that was resolved before the subscription was ready, so nothing published after that
// is missed. Reading goes on after the last record after an outage of any length. If
// that is no longer in the log the subscription ends with OutOfRange: nothing is
// skipped in silence. A partition that is added later is noticed within
// [Timeouts].Refresh and read from its beginning.
//
// # Connection
//
// A transport without traffic asks a broker for a sign of life, on a connection of its
// own, and does so at once when any connection fails. When no broker answers it is
// Disconnected, everything that waits for an answer is cut off, and it goes on trying,
// with jitter, at least once a second. Publish then waits a short while for a
// connection and gives up with Unavailable. A message that may have reached a broker
// when the connection was lost is OutcomeUnknown.
//
// A broker that hangs while others answer is found out in about two seconds. What waits
// for it is cut off, and nothing asks it again until it answers, so publishing and
// delivery go on as soon as the cluster has chosen new leaders. [Transport.Check] looks
// at each broker and topic, for people and for alarms.
//
// Producing, metadata with offsets, each group session and each session without a
// group have a client, and so connections, of their own: brokers answer the requests of
// one connection one after the other, and a long poll or a rebalance would hold up the
// rest.
//
// # What it does not do
//
// It has no transactions. A bus that is to read one topic in several groups needs a
// subscription for each. Positions that brokers keep for a group are not deleted.
package kafka
