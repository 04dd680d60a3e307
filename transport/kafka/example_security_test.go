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

	password, err := kafka.CredentialFile(file) // the transport reads the file again for each connection
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

func ExampleWithSASLOAuthBearer() {
	// A real source asks an identity provider, keeps the token, and replaces it shortly
	// before it expires.
	token := func(context.Context) (string, error) { return "eyJhbGciOi…", nil }

	t, err := kafka.New([]string{"kafka-1.test:9093"},
		kafka.WithTLSFrom(kafka.TLS{}), kafka.WithSASLOAuthBearer(token))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close(context.Background())
	fmt.Println(t)
	// Output: kafka transport on kafka-1.test:9093, TLS, SASL/OAUTHBEARER
}
