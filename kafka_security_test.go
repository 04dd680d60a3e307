package trunkline_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/trunkline/trunkline"
	_ "github.com/trunkline/trunkline/transport/gochannel"
	_ "github.com/trunkline/trunkline/transport/kafka"
)

// certificate writes a self-signed certificate for 127.0.0.1, and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return certFile, keyFile
}

// secureBroker returns the bus URL of a broker that needs TLS, a client certificate, and
// the login ada with password, and the files for its clients.
func secureBroker(t *testing.T) (url, caFile, certFile, keyFile string) {
	t.Helper()
	caFile, brokerKey := certificate(t)
	certFile, keyFile = certificate(t)
	own, err := tls.LoadX509KeyPair(caFile, brokerKey)
	require.NoError(t, err)
	trusted := x509.NewCertPool()
	text, err := os.ReadFile(certFile)
	require.NoError(t, err)
	require.True(t, trusted.AppendCertsFromPEM(text))
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", password), kfake.Superuser("SCRAM-SHA-256", "ada", password),
		kfake.TLS(&tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return "kafka://" + strings.Join(c.ListenAddrs(), ","), caFile, certFile, keyFile
}

// The -kafka flags secure the bus that the App opens from its URL.
func TestKafkaFlagsSecureTheBus(t *testing.T) {
	url, ca, cert, key := secureBroker(t)
	t.Setenv("TRUNKLINE_KAFKA_PASSWORD", password)
	passwordFile := writeFile(t, password+"\n")
	for name, args := range map[string][]string{
		"password of the environment": {"-kafka-user", "ada"},
		"password of a file":          {"-kafka-user", "ada", "-kafka-sasl", "scram-sha-256", "-kafka-password-file", passwordFile},
		"expected server name":        {"-kafka-user", "ada", "-kafka-server-name", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, err := loadWith(t, nil, append(args, "-bus", url, "-probe", "127.0.0.1:0", "-shutdown-timeout", "1m",
				"-kafka-tls", "-kafka-ca-file", ca, "-kafka-cert-file", cert, "-kafka-key-file", key)...)
			require.NoError(t, err)
			app, err := trunkline.New(t.Context(), cfg, trunkline.WithLogger(slog.New(slog.DiscardHandler)))
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, app.Close()) })
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			require.NoError(t, app.Bus.Ready(ctx))
		})
	}
}

// Security settings are never ignored: a transport without TLS and logins rejects them.
func TestKafkaSecurityIsNeverIgnored(t *testing.T) {
	t.Parallel()
	login := trunkline.KafkaSecurity{User: "ada", SASL: "scram-sha-256", Password: trunkline.NewSecret(password)}
	for name, tc := range map[string]struct {
		url   string
		kafka trunkline.KafkaSecurity
		want  string
	}{
		"TLS in memory":            {"memory://security", trunkline.KafkaSecurity{TLS: true}, "tls"},
		"login in memory":          {"memory://security", login, "user"},
		"login on channels":        {"chan://", login, "user"},
		"in URL and flags":         {"kafka://h:1?tls=true", trunkline.KafkaSecurity{TLS: true}, "tls is also set outside the URL"},
		"two passwords":            {"kafka://h:1?password_env=PATH", login, "second credential"},
		"plain text with password": {"kafka://h:1", trunkline.KafkaSecurity{User: "ada", Password: trunkline.NewSecret(password)}, "set -kafka-tls"},
		"unknown scheme":           {"nowhere://x", trunkline.KafkaSecurity{}, "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := validConfig()
			c.BusURL, c.Kafka = tc.url, tc.kafka
			_, _, err := trunkline.NewBus(t.Context(), c, slog.New(slog.DiscardHandler))
			var ce *trunkline.ConfigError
			require.ErrorAs(t, err, &ce)
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), password)
		})
	}
}
