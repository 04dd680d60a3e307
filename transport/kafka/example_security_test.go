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

// Set the environment variable outside the program, for example from a Kubernetes secret.
func ExampleCredentialEnv() {
	if err := os.Setenv("ORDERS_KAFKA_PASSWORD", "correct horse battery staple"); err != nil {
		fmt.Println(err)
		return
	}

	password, err := kafka.CredentialEnv("ORDERS_KAFKA_PASSWORD")
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := kafka.New([]string{"kafka-1.test:9093"},
		kafka.WithTLSFrom(kafka.TLS{}), kafka.WithSASLPlain("orders", password))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close(context.Background())
	fmt.Println(t)
	// Output: kafka transport on kafka-1.test:9093, TLS, SASL/PLAIN as "orders"
}

// PLAIN sends the password to the broker, so New rejects it without TLS.
func ExampleWithInsecureSASL() {
	password := func(context.Context) (string, error) { return "correct horse battery staple", nil }
	_, err := kafka.New([]string{"localhost:9092"}, kafka.WithSASLPlain("orders", password))
	fmt.Println(err)

	t, err := kafka.New([]string{"localhost:9092"}, kafka.WithSASLPlain("orders", password), kafka.WithInsecureSASL())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close(context.Background())
	fmt.Println(t)
	// Output:
	// kafka: open: SASL/PLAIN as "orders" without TLS would send the credential in plain text: use TLS, SCRAM, or WithInsecureSASL (invalid_argument)
	// kafka transport on localhost:9092, SASL/PLAIN as "orders"
}

// New reports an unusable TLS file at once.
func ExampleWithTLSFrom() {
	_, err := kafka.New([]string{"kafka-1.test:9093"}, kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMText("not PEM")}))
	fmt.Println(err)
	// Output: kafka: open: cannot use the TLS CA (inline text): it contains no PEM certificate (invalid_argument)
}
