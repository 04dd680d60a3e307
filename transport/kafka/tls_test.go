package kafka_test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/transport/kafka"
)

func later() time.Time { return time.Now().Add(time.Hour) }

func TestPEMDoesNotPrintItsText(t *testing.T) {
	t.Parallel()
	s := kafka.TLS{CA: kafka.PEMFile("/etc/ca.pem"), Cert: kafka.PEMText("hunter2"), Key: kafka.PEMText("hunter2")}
	hidden := struct{ tls kafka.TLS }{s} // package fmt cannot call methods of an unexported field
	requireNoSecret(t, "hunter2", s, &s, s.Key, hidden, &hidden, []kafka.TLS{s})
	text, err := json.Marshal(s)
	require.NoError(t, err)
	require.NotContains(t, string(text), "hunter2")
	require.Equal(t, "file /etc/ca.pem and inline text", fmt.Sprintf("%v and %v", s.CA, s.Key))
}

func TestNewRejectsUnusableTLSSettings(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, later())
	other, otherKey := certificate(t, later())
	old, oldKey := certificate(t, time.Now().Add(-time.Minute))
	unreadable := t.TempDir()
	broken := filepath.Join(unreadable, "broken.pem")
	require.NoError(t, os.WriteFile(broken, []byte("-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"), 0o600))
	text, file := kafka.PEMText, kafka.PEMFile
	for name, c := range map[string]struct {
		tls  kafka.TLS
		want string
	}{
		"CA file missing":            {kafka.TLS{CA: file("/none/ca.pem")}, "cannot read the TLS CA: open /none/ca.pem"},
		"CA is a folder":             {kafka.TLS{CA: file(unreadable)}, unreadable},
		"no certificate in CA":       {kafka.TLS{CA: text(key)}, "cannot use the TLS CA (inline text): it contains no PEM certificate"},
		"broken CA":                  {kafka.TLS{CA: file(broken)}, "cannot use the TLS CA (file " + broken + "): x509"},
		"no key":                     {kafka.TLS{Cert: text(cert)}, "belong together"},
		"no certificate":             {kafka.TLS{Key: text(key)}, "belong together"},
		"no key file":                {kafka.TLS{Cert: text(cert), Key: file("/none/key.pem")}, "cannot read the TLS key: open /none/key.pem"},
		"key of another certificate": {kafka.TLS{Cert: text(cert), Key: text(otherKey)}, "private key does not match public key"},
		"certificate as key":         {kafka.TLS{Cert: text(cert), Key: text(other)}, "cannot use the TLS certificate"},
		"key is no PEM":              {kafka.TLS{Cert: text(cert), Key: text("hunter2")}, "cannot use the TLS certificate (inline text) and key (inline text)"},
		"encrypted key":              {kafka.TLS{Cert: text(cert), Key: text(strings.ReplaceAll(key, "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"))}, "is encrypted"},
		"expired":                    {kafka.TLS{Cert: text(old), Key: text(oldKey)}, "the TLS certificate (inline text) expired at"},
		"TLS 1.1":                    {kafka.TLS{MinVersion: tls.VersionTLS11}, "must be tls.VersionTLS12 or tls.VersionTLS13"},
		"unknown version":            {kafka.TLS{MinVersion: tls.VersionTLS13 + 1}, "must be tls.VersionTLS12 or tls.VersionTLS13"},
		"expired CA is accepted":     {kafka.TLS{CA: text(old)}, ""},
	} {
		k, err := kafka.New([]string{"127.0.0.1:1"}, kafka.WithTLSFrom(c.tls))
		if c.want == "" {
			require.NoError(t, err, name)
			require.NoError(t, k.Close(testContext(t)))
			continue
		}
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), name)
		require.ErrorContains(t, err, c.want, name)
		require.NotContains(t, err.Error(), "\n")
		for _, secret := range []string{"hunter2", body(key), body(otherKey), body(oldKey)} {
			requireNoSecret(t, secret, err)
		}
	}
}

// body returns a part of a key that no other key contains.
func body(key string) string { return strings.Split(key, "\n")[1][20:] }

func TestConfigAcceptsOneKindOfTLS(t *testing.T) {
	t.Parallel()
	_, _, err := kafka.NewTransport(kafka.Config{Brokers: []string{"127.0.0.1:1"}, TLS: &tls.Config{}, TLSFrom: &kafka.TLS{}})
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
	k, cleanup, err := kafka.NewTransport(kafka.Config{
		Brokers: []string{"127.0.0.1:1"}, TLSFrom: &kafka.TLS{}, SASL: "scram-sha-512", User: "me", Password: fixedCredential("hunter2"),
	})
	require.NoError(t, err)
	defer cleanup()
	require.Equal(t, `kafka transport on 127.0.0.1:1, TLS, SASL/SCRAM-SHA-512 as "me"`, k.String())
}

// A renewed certificate takes effect at the next connection. A file that is unusable at that
// time does not break the transport.
func TestTLSFilesAreReadForEachConnection(t *testing.T) {
	t.Parallel()
	server, err := tls.X509KeyPair(leaf(t))
	require.NoError(t, err)
	var shown atomic.Pointer[big.Int]
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(c tls.ConnectionState) error {
			shown.Store(c.PeerCertificates[0].SerialNumber)
			return nil
		},
	}))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)

	file := filepath.Join(t.TempDir(), "client.pem")
	write := func(cert, key []byte) *big.Int {
		t.Helper()
		require.NoError(t, os.WriteFile(file, append(cert, key...), 0o600))
		pair, err := tls.X509KeyPair(cert, key)
		require.NoError(t, err)
		return pair.Leaf.SerialNumber
	}
	first := write(leaf(t))
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate[0]}))
	d, log := &kafkatest.Dialer{}, &logBuffer{}
	k := openAddrs(t, cluster.ListenAddrs(), kafka.WithDialer(d.DialContext), kafka.WithLogger(log.logger()),
		kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMText(ca), Cert: kafka.PEMFile(file), Key: kafka.PEMFile(file)}))
	seen := observe(k)
	reconnect := func() {
		d.Cut()
		seen.await(t, driver.Disconnected)
		d.Restore()
		seen.await(t, driver.Connected)
	}
	seen.await(t, driver.Connected)
	require.Equal(t, first, shown.Load())

	second := write(leaf(t))
	reconnect()
	require.Equal(t, second, shown.Load())
	require.NotContains(t, log.String(), "continuing with their last usable content")

	require.NoError(t, os.Truncate(file, 100))
	reconnect()
	require.Equal(t, second, shown.Load())
	require.Contains(t, log.String(), "continuing with their last usable content")
}

// leaf returns a self-signed certificate for 127.0.0.1.
func leaf(t *testing.T) (cert, key []byte) {
	t.Helper()
	c, k := certificate(t, later())
	return []byte(c), []byte(k)
}
