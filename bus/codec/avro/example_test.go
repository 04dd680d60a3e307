package avro_test

import (
	"fmt"
	"log"

	"github.com/trunkline/trunkline/bus/codec"
	"github.com/trunkline/trunkline/bus/codec/avro"
)

func Example() {
	prices, err := avro.New(`{"type": "record", "name": "Price", "fields": [
		{"name": "sku", "type": "string"},
		{"name": "cents", "type": "long"}
	]}`)
	if err != nil {
		log.Fatal(err)
	}
	type Price struct {
		SKU   string `avro:"sku"`
		Cents int64  `avro:"cents"`
	}
	m, err := codec.Encode(prices, Price{"apple", 40})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(m.Payload), "bytes,", m.Metadata.Get(codec.ContentTypeHeader))
	p, err := codec.Decode[Price](prices, m)
	fmt.Println(p, err)

	m.Payload = m.Payload[:3]
	_, err = codec.Decode[Price](prices, m)
	fmt.Println(err)
	// Output:
	// 7 bytes, application/avro
	// {apple 40} <nil>
	// decode: cannot decode the payload into avro_test.Price as application/avro: avro: sku at byte 1: the data is truncated (undecodable)
}
