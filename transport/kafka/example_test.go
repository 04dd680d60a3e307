package kafka_test

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/transport/kafka"
)

// The example uses the embedded broker instead of a cluster. Messages with the same key go
// to the same partition.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(4, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()

	t, err := kafka.New(broker.Addrs(), kafka.WithClientID("orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(t, bus.WithSubscribeDefaults(bus.Group("orders")))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	m := message.NewMessage("1", []byte("two apples"))
	bus.SetKey(m, "ada")
	if err := b.Publish("orders", m); err != nil {
		fmt.Println(err)
		return
	}
	handled := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Printf("%s ordered %s\n", d.Key, d.Payload)
		close(handled)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-handled
	// Output: ada ordered two apples
}

// A program that opens its bus by a URL only imports the package.
func Example_url() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(1, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()

	b, err := bus.Open(ctx, "kafka://"+broker.Addrs()[0]+"?client_id=orders&compression=zstd&linger=5ms")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	fmt.Println(b.Publish("orders", message.NewMessage("1", []byte("two apples"))))
	// Output: <nil>
}

// A subscription without a group can begin at any offset. It commits nothing.
func Example_readFromOffset() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(1, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()
	t, err := kafka.New(broker.Addrs())
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	for _, text := range []string{"one", "two", "three"} {
		if err := b.Publish("orders", message.NewMessage(text, []byte(text))); err != nil {
			fmt.Println(err)
			return
		}
	}
	done := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(d.Offset, string(d.Payload))
		if d.Offset == 2 {
			close(done)
		}
		return nil
	}, bus.NoGroup(), bus.FromOffset(1), bus.OrderByPartition())
	if err != nil {
		fmt.Println(err)
		return
	}
	<-done
	// Output:
	// 1 two
	// 2 three
}

// Records on the topic "metrics" have no headers. Other topics keep the format of
// watermill-kafka.
func ExampleWithTopicMarshaler() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(1, "metrics"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()
	t, err := kafka.New(broker.Addrs(), kafka.WithTopicMarshaler("metrics", kafka.RawMarshaler{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	m := message.NewMessage("1", []byte("42"))
	m.Metadata.Set("unit", "ms")
	if err := b.Publish("metrics", m); err != nil {
		fmt.Println(err)
		return
	}

	// Another client reads the record.
	consumer, err := sarama.NewConsumer(broker.Addrs(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition("metrics", 0, sarama.OffsetOldest)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer partition.Close()
	record := <-partition.Messages()
	fmt.Printf("%s, %d headers\n", record.Value, len(record.Headers))
	// Output: 42, 0 headers
}

// noteMarshaler writes the metadata "note" as the record's only header.
type noteMarshaler struct{}

func (noteMarshaler) Marshal(topic string, m *message.Message) (*sarama.ProducerMessage, error) {
	note := sarama.RecordHeader{Key: []byte("note"), Value: []byte(m.Metadata.Get("note"))}
	return &sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(m.Payload), Headers: []sarama.RecordHeader{note}}, nil
}

func (noteMarshaler) Unmarshal(r *sarama.ConsumerMessage) (*message.Message, error) {
	m := message.NewMessage("", r.Value)
	for _, h := range r.Headers {
		m.Metadata.Set(string(h.Key), string(h.Value))
	}
	return m, nil
}

func ExampleWithMarshaler() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(1, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()
	t, err := kafka.New(broker.Addrs(), kafka.WithMarshaler(noteMarshaler{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	m := message.NewMessage("1", []byte("two apples"))
	m.Metadata.Set("note", "ripe")
	m.Metadata.Set("internal", "not written")
	if err := b.Publish("orders", m); err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan struct{})
	_, err = b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
		fmt.Println(string(d.Payload), d.Headers)
		close(done)
		return nil
	}, bus.NoGroup(), bus.FromOldest())
	if err != nil {
		fmt.Println(err)
		return
	}
	<-done
	// Output: two apples [{note ripe}]
}

// Check examines each broker and topic. Use it for alerts and tools. For liveness and
// readiness probes, use package liveness.
func ExampleTransport_Check() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(1, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()
	t, err := kafka.New(broker.Addrs())
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()

	health := t.Check(ctx, driver.CheckSpec{Topics: []string{"orders", "invoices"}, BrokerTimeout: 30 * time.Second})
	fmt.Println(health.Err)
	// Output: kafka: check: topic "invoices": it does not exist (unavailable)
}

// A test can interrupt the network of a transport by its dialer.
func ExampleWithDialer() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(1, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()
	var network kafkatest.Dialer
	t, err := kafka.New(broker.Addrs(), kafka.WithDialer(network.DialContext),
		kafka.WithTimeouts(kafka.Timeouts{PublishWait: 100 * time.Millisecond}))
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := bus.New(t)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	if err := b.Ready(ctx); err != nil {
		fmt.Println(err)
		return
	}

	network.Cut()
	fmt.Println(bus.CodeOf(b.Publish("orders", message.NewMessage("1", nil))))
	network.Restore()
	if err := b.Ready(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(b.Publish("orders", message.NewMessage("2", nil)))
	// Output:
	// unavailable
	// <nil>
}

// A restarted static member gets its partitions again without a rebalance. The ID must be
// unique to the process, such as the name of a pod in a stateful set.
func ExampleWithStaticMembership() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	broker, err := kafkatest.Start(ctx, kafkatest.WithTopics(2, "orders"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer broker.Close()

	for range 2 { // the second iteration is the restart
		t, err := kafka.New(broker.Addrs(), kafka.WithStaticMembership("orders-0"))
		if err != nil {
			fmt.Println(err)
			return
		}
		b, err := bus.New(t)
		if err != nil {
			fmt.Println(err)
			return
		}
		handled := make(chan string)
		sub, err := b.Consume(ctx, "orders", func(_ context.Context, d *bus.Delivery) error {
			handled <- string(d.Payload)
			return nil
		}, bus.Group("orders"))
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := sub.Ready(ctx); err != nil {
			fmt.Println(err)
			return
		}
		if err := b.Publish("orders", message.NewMessage("1", []byte("two apples"))); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(<-handled)
		if err := b.Close(); err != nil {
			fmt.Println(err)
			return
		}
	}
	// Output:
	// two apples
	// two apples
}
