package kafka

import (
	"context"
	"math"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

func init() { driver.Register("kafka", openURL) }

// openURL opens a URL such as kafka://h1:9092,h2:9092?client_id=orders. The package comment
// lists the parameters.
func openURL(_ context.Context, u *driver.URL) (driver.Transport, error) {
	var opts []Option
	if id := u.Text("client_id", ""); id != "" {
		opts = append(opts, WithClientID(id))
	}
	if v := u.Text("version", ""); v != "" {
		version, err := sarama.ParseKafkaVersion(v)
		if err != nil {
			return nil, invalid("URL parameter version must be a Kafka version such as 2.8.0")
		}
		opts = append(opts, WithVersion(version))
	}
	opts = append(opts, WithTimeouts(Timeouts{
		Dial:    u.Duration("dial_timeout", 0),
		Request: u.Duration("request_timeout", 0),
		Refresh: u.Duration("refresh", 0),
	}))
	for _, read := range []func(*driver.URL) ([]Option, error){urlProducer, urlConsumer, urlSecurity} {
		more, err := read(u)
		if err != nil {
			return nil, err
		}
		opts = append(opts, more...)
	}
	if u.Path != "" {
		return nil, invalid("URL must not have a path: use kafka://host:port,host:port")
	}
	if err := u.Done(); err != nil {
		return nil, err
	}
	t, err := New(u.Hosts(), opts...)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// urlProducer reads the parameters that configure how records are sent.
func urlProducer(u *driver.URL) ([]Option, error) {
	var opts []Option
	if name := u.Text("compression", ""); name != "" {
		var codec sarama.CompressionCodec
		if err := codec.UnmarshalText([]byte(name)); err != nil {
			return nil, invalid("URL parameter compression must be none, gzip, snappy, lz4 or zstd")
		}
		opts = append(opts, WithCompression(codec))
	}
	if d := u.Duration("linger", 0); d > 0 {
		opts = append(opts, WithLinger(d))
	}
	if n := u.Int("max_message_bytes", 0, 1); n > 0 {
		opts = append(opts, WithMaxMessageBytes(n))
	}
	if d := u.Duration("delivery_timeout", 0); d > 0 {
		opts = append(opts, WithDeliveryTimeout(d))
	}
	return opts, nil
}

// urlBalances maps the values of the parameter balance.
var urlBalances = map[string]Balance{"cooperative-sticky": CooperativeSticky, "range": Range, "roundrobin": RoundRobin, "sticky": Sticky}

// urlConsumer reads the parameters that configure how records are read and how groups are
// joined.
func urlConsumer(u *driver.URL) ([]Option, error) {
	var opts []Option
	if name := u.Text("balance", ""); name != "" {
		b, ok := urlBalances[name]
		if !ok {
			return nil, invalid("URL parameter balance must be cooperative-sticky, range, roundrobin or sticky")
		}
		opts = append(opts, WithBalance(b))
	}
	if id := u.Text("instance_id", ""); id != "" {
		opts = append(opts, WithStaticMembership(id))
	}
	if rack := u.Text("rack", ""); rack != "" {
		opts = append(opts, WithRack(rack))
	}
	if u.Bool("read_committed", false) {
		opts = append(opts, WithReadCommitted())
	}
	fetch := Fetch{Wait: u.Duration("fetch_wait", 0)}
	for name, bytes := range map[string]*int32{"fetch_min_bytes": &fetch.MinBytes, "fetch_bytes": &fetch.Bytes} {
		n := u.Int(name, 0, 1)
		if n > math.MaxInt32 {
			return nil, invalid("URL parameter " + name + " must be less than 2 GiB")
		}
		*bytes = int32(n)
	}
	return append(opts, WithFetch(fetch)), nil
}
