package kafka

import (
	"context"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
)

func init() { bus.Register("kafka", openURL) }

// openURL opens kafka://h1:9092,h2:9092?client_id=…&version=….
func openURL(_ context.Context, u *driver.URL) (driver.Transport, error) {
	var opts []Option
	if id := u.Text("client_id", ""); id != "" {
		opts = append(opts, WithClientID(id))
	}
	if v := u.Text("version", ""); v != "" {
		version, err := sarama.ParseKafkaVersion(v)
		if err != nil {
			return nil, invalid("the URL parameter version is not a Kafka version such as 2.8.0")
		}
		opts = append(opts, WithVersion(version))
	}
	opts = append(opts, WithTimeouts(Timeouts{
		Dial:    u.Duration("dial_timeout", 0),
		Request: u.Duration("request_timeout", 0),
		Refresh: u.Duration("refresh", 0),
	}))
	if u.Path != "" {
		return nil, invalid("the URL has a path, and Kafka has no use for one")
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
