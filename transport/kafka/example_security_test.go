package kafka_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/trunkline/trunkline/transport/kafka"
)

func ExampleWithSASLScramSHA512() {
	dir, err := os.MkdirTemp("", "secrets-*")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "kafka-password")
	if err := os.WriteFile(file, []byte("correct horse battery staple\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	password, err := kafka.SecretFile(file) // read again for each connection
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := kafka.New([]string{"kafka-1.test:9093"},
		kafka.WithTLSFrom(kafka.TLS{}),
		kafka.WithSASLScramSHA512("orders", password))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close(context.Background())
	fmt.Printf("%+v\n", t)
	// Output: kafka transport on kafka-1.test:9093, TLS, SASL/SCRAM-SHA-512 as "orders"
}

func ExampleSecret_Token() {
	// Any function that gives a token is a source of them. This one would ask an
	// identity provider, and keep what it got until shortly before that expires.
	var source kafka.Secret = func(context.Context) (string, error) { return "eyJhbGciOi…", nil }

	t, err := kafka.New([]string{"kafka-1.test:9093"},
		kafka.WithTLSFrom(kafka.TLS{}), kafka.WithSASLOAuthBearer(source))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close(context.Background())
	fmt.Println(t)
	// Output: kafka transport on kafka-1.test:9093, TLS, SASL/OAUTHBEARER
}
