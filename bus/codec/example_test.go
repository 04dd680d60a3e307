package codec_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"log"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/codec"
	_ "github.com/trunkline/trunkline/transport/memory" // for memory://
)

func Example() {
	type Order struct{ ID, Customer string }
	m, err := codec.Encode(codec.JSON, Order{"o-1", "ada"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Metadata.Get(codec.ContentTypeHeader), string(m.Payload))
	o, err := codec.Decode[Order](codec.JSON, m)
	fmt.Println(o, err)

	// A message that names another content type is not decoded.
	m.Metadata.Set(codec.ContentTypeHeader, "application/avro")
	_, err = codec.Decode[Order](codec.JSON, m)
	fmt.Println(err)
	// Output:
	// application/json {"ID":"o-1","Customer":"ada"}
	// {o-1 ada} <nil>
	// decode: the content type is "application/avro", expected "application/json" (undecodable)
}

// xmlCodec encodes values as encoding/xml does.
type xmlCodec struct{}

func (xmlCodec) ContentType() string                { return "application/xml" }
func (xmlCodec) Marshal(v any) ([]byte, error)      { return xml.Marshal(v) }
func (xmlCodec) Unmarshal(data []byte, v any) error { return xml.Unmarshal(data, v) }

// Any type with these three methods is a codec.
func ExampleCodec() {
	type Order struct{ ID string }
	m, err := codec.Encode(xmlCodec{}, Order{"o-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Metadata.Get(codec.ContentTypeHeader), string(m.Payload))
	// Output: application/xml <Order><ID>o-1</ID></Order>
}

func ExampleHandler() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := bus.Open(ctx, "memory://?create=true")
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close()

	type Order struct{ ID, Customer string }
	done := make(chan struct{})
	_, err = b.Consume(ctx, "orders", codec.Handler(codec.JSON, func(ctx context.Context, o Order, d *bus.Delivery) error {
		fmt.Println(o.ID, "of", o.Customer, "at offset", d.Record.Offset)
		close(done)
		return nil
	}), bus.Group("billing"), bus.DeadLetterTopic("orders.dead"))
	if err != nil {
		log.Fatal(err)
	}
	m, err := codec.Encode(codec.JSON, Order{"o-1", "ada"})
	if err != nil {
		log.Fatal(err)
	}
	if err := b.Publish("orders", m); err != nil {
		log.Fatal(err)
	}
	<-done
	// Output: o-1 of ada at offset 0
}
