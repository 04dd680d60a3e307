// Package kafka connects a bus to Apache Kafka. It uses the client IBM/sarama.
//
//	t, err := kafka.New([]string{"kafka-1:9092", "kafka-2:9092"}, kafka.WithClientID("orders"))
//	if err != nil {
//		return err // a wrong option or address; an unreachable broker is not an error of New
//	}
//	b, err := bus.New(t, bus.WithSubscribeDefaults(bus.Group("orders")))
//
// Records have the format of watermill-kafka's DefaultMarshaler, so a service that uses
// watermill-kafka and a service that uses this package read each other's records. Use
// [WithMarshaler], or [WithTopicMarshaler] for one topic, to set another marshaler of
// watermill-kafka, or [RawMarshaler] for records without headers.
//
// # URLs
//
// The package registers the scheme kafka for bus.Open. Commas separate the brokers:
//
//	kafka://kafka-1:9092,kafka-2:9092?client_id=orders&group=orders
//
// The parameters are those of package bus and the following:
//
//	client_id           WithClientID
//	version             WithVersion, such as 3.6.0
//	dial_timeout        Timeouts.Dial
//	request_timeout     Timeouts.Request
//	refresh             Timeouts.Refresh
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
// The parameters for security are:
//
//	tls=true                   WithTLSFrom; the next four parameters need it
//	ca, cert, key              PEM files
//	server_name                the name that the brokers' certificates must be valid for
//	sasl                       plain, scram-sha-256, scram-sha-512 or oauthbearer
//	user                       the user name; not with oauthbearer
//	password_file, token_file  the file that contains the password or token
//	password_env, token_env    the environment variable that contains it
//	insecure_sasl=true         WithInsecureSASL
//
// A URL cannot contain the password or token itself. Any parameter for it is rejected as
// unknown.
//
// # Security
//
//	t, err := kafka.New(brokers,
//		kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile("/etc/kafka/ca.pem")}),
//		kafka.WithSASLScramSHA512("orders", password))
//
// By default connections are plain text. [WithTLSFrom] encrypts connections and verifies
// the brokers' certificates. It also sends a client certificate if one is set (mTLS).
// [WithTLS] takes a configuration of crypto/tls instead. The SASL mechanisms are
// [WithSASLPlain], [WithSASLScramSHA256], [WithSASLScramSHA512] and
// [WithSASLOAuthBearer]. PLAIN and OAUTHBEARER send the password or token to the broker.
// They need TLS unless [WithInsecureSASL] is set. With SCRAM the broker must also prove
// that it has the password.
//
// A [CredentialSource] returns the password or token. The transport calls it for each
// connection, and it reads PEM files again for each connection. A rotated credential
// therefore takes effect without a restart, at the latest when a broker rejects the old
// one. No error, log line or printed value of this package contains a credential.
//
// New returns an error for unusable files and options. If a broker or TLS rejects a
// connection (a wrong password, or a certificate that one side does not trust), the state
// of the transport is Refused. The cause has the code Unauthenticated and says what to
// do. Ready and Publish return it, and a session reports it in an event. The transport
// tries again every few seconds. A broker that expects TLS or SASL from a client that
// uses neither closes the connection without a reason. The transport cannot distinguish
// this from a broker that shuts down, so it reports Unavailable with a hint.
//
// # Message Delivery Semantics
//
// A message is acknowledged when every in-sync replica has it (acks=all). The producer is
// idempotent: a message that is sent twice is stored once, and messages keep their order
// within a partition. The partition is the one that the message names. Otherwise it is the
// one that Java's default partitioner chooses for the key. A message without a key can go to
// any partition. Messages without a key that are published together, or while others are in
// flight, go to the same partition, because a few large requests are faster than many small
// ones. A single message is sent at once unless [WithLinger] is set. The transport retries a
// message that a broker rejects temporarily, for [WithDeliveryTimeout]. It never creates a
// topic implicitly: a message to an unknown topic fails with NotFound within a second.
//
// With a group, delivery is at least once. Messages that were not committed are delivered
// again, to this member or to another. Commit returns nil only after the group's coordinator
// has confirmed the commit. When a partition is revoked, the next member gets it after the
// handlers have ended. The handlers must end within the rebalance time-out. Until then the
// coordinator accepts their commits. A partition without a committed offset begins at the
// start position of the subscription. Unless that is the oldest record, the transport
// commits the resolved offset before the subscription is ready. If retention has removed the
// committed offset, or if the offset is beyond the end of a topic that was created again,
// the partition continues at the oldest record. A partition that is added later is read from
// its beginning.
//
// Members share the partitions by [CooperativeSticky] if every member supports it. A
// rebalance then stops only the partitions that move, and the subscription stays
// assigned. See [WithBalance] for groups with members that use other libraries, and
// [WithStaticMembership] for restarts without a rebalance.
//
// Without a group, a subscription reads every partition, or the partitions that it names.
// The transport resolves the first offset before the subscription is ready, so the
// subscription receives everything that is published afterwards. After an outage, reading
// continues after the last record. If the log no longer contains that offset, the
// subscription ends with OutOfRange: no record is skipped silently. The transport notices
// a partition that is added later within [Timeouts].Refresh and reads it from its
// beginning.
//
// # Connection
//
// A transport without traffic probes a broker on a separate connection. It also probes
// when any connection fails. If no broker answers, the state is Disconnected. The
// transport then fails all requests that wait for an answer, and tries to reconnect, with
// jitter, at least once a second. Publish waits a short time for a connection
// ([Timeouts].PublishWait) and then fails with Unavailable. A message that a broker might
// have received when the connection was lost fails with OutcomeUnknown.
//
// The transport detects a broker that hangs while others answer, in about two seconds. It
// fails the requests to that broker and does not connect to it until it answers again.
// Publishing and delivery continue as soon as the cluster has elected new leaders. Use
// [Transport.Check] to examine each broker and topic, for example for an alert.
//
// The producer, metadata with offsets, each group session and each session without a
// group use separate clients and connections. A broker handles the requests of one
// connection one after the other, so a long poll or a rebalance on a shared connection
// would delay the other requests.
//
// # What it does not do
//
// The package has no transactions. To read a topic in several groups, a bus needs a
// subscription for each. The package does not delete the committed offsets of a group.
package kafka
