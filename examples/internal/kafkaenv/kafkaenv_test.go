package kafkaenv_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/examples/internal/kafkaenv"
	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func env(vars map[string]string) *kafkaenv.Env {
	return kafkaenv.NewEnv(func(name string) string { return vars[name] })
}

func TestConfigReadsTheEnvironment(t *testing.T) {
	t.Parallel()
	e := env(nil)
	c := e.Config()
	require.NoError(t, e.Err())
	require.Equal(t, []string{"localhost:9092"}, c.Brokers)
	require.False(t, c.TLS)
	require.Equal(t, 5*time.Second, c.Shutdown)

	e = env(map[string]string{"KAFKA_ADDR": "a:1, b:2", "KAFKA_SEC_PROTO": "tls", "GRACEFUL_SHUTDOWN_TIMEOUT": "1m",
		"KAFKA_SEC_CLIENT_KEY": "the secret key", "KAFKA_MAX_BYTES": "2000000", "KAFKA_VERSION": "3.6.0"})
	c = e.Config()
	require.NoError(t, e.Err())
	require.Equal(t, []string{"a:1", "b:2"}, c.Brokers)
	require.True(t, c.TLS)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c), "secret key")
	_, err := c.Open(slog.New(slog.DiscardHandler))
	require.Error(t, err, "a key without a certificate")
	require.NotContains(t, err.Error(), "secret key")
}

func TestWrongVariablesAreErrors(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"KAFKA_SEC_PROTO": "SSL", "KAFKA_SEC_CA_CERTS": "ca.pem", "KAFKA_SEC_SKIP_VERIFY": "true", "KAFKA_MAX_BYTES": "-1",
		"GRACEFUL_SHUTDOWN_TIMEOUT": "0s",
	} {
		e := env(map[string]string{name: value})
		e.Config()
		require.Error(t, e.Err(), name)
	}
	_, err := kafkaenv.Config{Brokers: []string{"a:1"}, Version: "new", MaxBytes: 1000, Shutdown: time.Second}.Open(slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "KAFKA_VERSION")
}

// With TLS, the bus trusts the CA, presents the client certificate, and sends no plain text.
func TestTLSUsesTheCertificates(t *testing.T) {
	t.Parallel()
	broker, client := newPair(t), newPair(t)
	trusted := x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM([]byte(client.cert)))
	own, err := tls.X509KeyPair([]byte(broker.cert), []byte(broker.key))
	require.NoError(t, err)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	listener := tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert})
	shaken := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Minute)) // only against a hanging test
			select {
			case shaken <- conn.(*tls.Conn).Handshake():
			default:
			}
			conn.Close()
		}
	}()
	e := env(map[string]string{"KAFKA_ADDR": listener.Addr().String(), "KAFKA_SEC_PROTO": "TLS", "KAFKA_SEC_CA_CERTS": broker.cert,
		"KAFKA_SEC_CLIENT_CERT": strings.ReplaceAll(client.cert, "\n", `\n`), "KAFKA_SEC_CLIENT_KEY": client.key,
		"GRACEFUL_SHUTDOWN_TIMEOUT": "1m"})
	c := e.Config()
	require.NoError(t, e.Err())
	b, err := c.Open(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case err := <-shaken:
		require.NoError(t, err)
	case <-ctx.Done():
		t.Fatal("the bus did not connect within a minute")
	}
	require.NoError(t, b.Close())
	require.NoError(t, listener.Close())
	<-done
}

type pair struct{ cert, key string }

// newPair returns a self-signed certificate for 127.0.0.1 and its key.
func newPair(t *testing.T) pair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return pair{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))}
}
