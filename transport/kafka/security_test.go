package kafka_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// wrong is a wrong password. No error or log line may contain it.
const wrong = "wr0ng-hunter2-\"%s\\n"

func fixedCredential(s string) kafka.CredentialSource {
	return func(context.Context) (string, error) { return s, nil }
}

type login struct {
	name, listener string
	opts           []kafka.Option
}

func token(t *testing.T, s *kafkatest.SecureCluster, expires time.Time) string {
	t.Helper()
	value, err := s.Token(s.User, expires)
	require.NoError(t, err)
	return value
}

func text(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(b)
}

// validLogins returns the options that must be able to connect.
func validLogins(t *testing.T, s *kafkatest.SecureCluster) []login {
	t.Helper()
	ca := kafka.TLS{CA: kafka.PEMFile(s.CAFile)}
	encrypted := kafka.WithTLSFrom(ca)
	password := fixedCredential(s.Password)
	named := ca
	named.ServerName, named.MinVersion = "localhost", tls.VersionTLS13
	mutual := kafka.TLS{CA: kafka.PEMFile(s.CAFile), Cert: kafka.PEMFile(s.CertFile), Key: kafka.PEMFile(s.KeyFile)}
	inline := kafka.TLS{CA: kafka.PEMText(text(t, s.CAFile)), Cert: kafka.PEMText(text(t, s.CertFile)), Key: kafka.PEMText(text(t, s.KeyFile))}
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(text(t, s.CAFile))))
	bearer := fixedCredential(token(t, s, time.Now().Add(time.Hour)))
	return []login{
		{"TLS", kafkatest.ListenerSSL, []kafka.Option{encrypted}},
		{"TLS/server name and 1.3", kafkatest.ListenerSSL, []kafka.Option{kafka.WithTLSFrom(named)}},
		{"TLS/own configuration, 1.2", kafkatest.ListenerSSL, []kafka.Option{kafka.WithTLS(&tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12})}},
		{"mTLS/files", kafkatest.ListenerMTLS, []kafka.Option{kafka.WithTLSFrom(mutual)}},
		{"mTLS/inline", kafkatest.ListenerMTLS, []kafka.Option{kafka.WithTLSFrom(inline)}},
		{"SASL_SSL/PLAIN", kafkatest.ListenerSASLSSL, []kafka.Option{encrypted, kafka.WithSASLPlain(s.User, password)}},
		{"SASL_SSL/SCRAM-SHA-256", kafkatest.ListenerSASLSSL, []kafka.Option{encrypted, kafka.WithSASLScramSHA256(s.User, password)}},
		{"SASL_SSL/SCRAM-SHA-512", kafkatest.ListenerSASLSSL, []kafka.Option{encrypted, kafka.WithSASLScramSHA512(s.User, password)}},
		{"SASL_SSL/OAUTHBEARER", kafkatest.ListenerSASLSSL, []kafka.Option{encrypted, kafka.WithSASLOAuthBearer(bearer)}},
		{"SASL_PLAINTEXT/PLAIN", kafkatest.ListenerSASLPlaintext, []kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain(s.User, password)}},
		{"SASL_PLAINTEXT/PLAIN, old protocol", kafkatest.ListenerSASLPlaintext, []kafka.Option{
			kafka.WithInsecureSASL(), kafka.WithSASLPlain(s.User, password), kafka.WithVersion(sarama.V2_2_0_0),
		}},
		{"SASL_PLAINTEXT/SCRAM-SHA-256", kafkatest.ListenerSASLPlaintext, []kafka.Option{kafka.WithSASLScramSHA256(s.User, password)}},
		{"SASL_PLAINTEXT/SCRAM-SHA-512", kafkatest.ListenerSASLPlaintext, []kafka.Option{kafka.WithSASLScramSHA512(s.User, password)}},
		{"SASL_PLAINTEXT/OAUTHBEARER", kafkatest.ListenerSASLPlaintext, []kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLOAuthBearer(bearer)}},
	}
}

// openAddrs returns a transport for brokers at these addresses. It is closed when t ends.
func openAddrs(t *testing.T, addrs []string, opts ...kafka.Option) *kafka.Transport {
	t.Helper()
	k, err := kafka.New(addrs, opts...)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		require.NoError(t, k.Close(ctx))
	})
	return k
}

// requireWorks checks that a message arrives, with a group and without.
func requireWorks(t *testing.T, k *kafka.Transport, topic string) {
	t.Helper()
	require.NoError(t, k.Ready(testContext(t)))
	require.NoError(t, k.Ping(testContext(t)))
	sessions := []driver.Session{
		subscribe(t, k, driver.Subscription{Topic: topic, Group: kafkatb.Name(t)}),
		subscribe(t, k, driver.Subscription{Topic: topic}),
	}
	requirePublished(t, publish(t, k, topic, anyPartition("x")...))
	for _, s := range sessions {
		p := awaitAssigned(t, s)
		require.Equal(t, "x", string(fetch(t, p[0], 1)[0].Payload))
		p[0].Release()
	}
}

func TestValidLoginsConnect(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	for _, w := range validLogins(t, s) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			k := openAddrs(t, s.Addrs(w.listener), w.opts...)
			require.NoError(t, k.Ready(testContext(t)))
			t.Logf("ready after %v: %v", time.Since(began).Round(time.Millisecond), k)
			requireWorks(t, k, kafkatb.Topic(t, b, 1))
		})
	}
}

// certificate returns a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T, expires time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "self-signed"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: expires.Add(-48 * time.Hour), NotAfter: expires,
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func TestInvalidLoginsAreRejectedWithAReason(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	encrypted := kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile)})
	otherCert, otherKey := certificate(t, time.Now().Add(time.Hour))
	otherSigner, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	foreign, err := s.TokenSignedBy(otherSigner, s.User, time.Now().Add(time.Hour))
	require.NoError(t, err)
	expired := token(t, s, time.Now().Add(-time.Hour))
	plain := b.Addrs()
	for _, c := range []struct {
		name  string
		addrs []string
		opts  []kafka.Option
		code  driver.Code
		want  string // part of the error text
		never string // a credential that no text may contain
	}{
		{"PLAIN, wrong password", s.Addrs(kafkatest.ListenerSASLSSL),
			[]kafka.Option{encrypted, kafka.WithSASLPlain(s.User, fixedCredential(wrong))},
			driver.CodeUnauthenticated, `SASL/PLAIN as "app": the broker rejected the login`, wrong},
		{"PLAIN, unknown user", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain("nobody", fixedCredential(s.Password))},
			driver.CodeUnauthenticated, `SASL/PLAIN as "nobody": the broker rejected the login`, s.Password},
		{"SCRAM-SHA-256, wrong password", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithSASLScramSHA256(s.User, fixedCredential(wrong))},
			driver.CodeUnauthenticated, `SASL/SCRAM-SHA-256 as "app": the broker rejected the login`, wrong},
		{"SCRAM-SHA-512, wrong password", s.Addrs(kafkatest.ListenerSASLSSL),
			[]kafka.Option{encrypted, kafka.WithSASLScramSHA512(s.User, fixedCredential(wrong))},
			driver.CodeUnauthenticated, `SASL/SCRAM-SHA-512 as "app": the broker rejected the login`, wrong},
		{"OAUTHBEARER, expired token", s.Addrs(kafkatest.ListenerSASLSSL),
			[]kafka.Option{encrypted, kafka.WithSASLOAuthBearer(fixedCredential(expired))},
			driver.CodeUnauthenticated, "SASL/OAUTHBEARER: the broker rejected the login", expired},
		{"OAUTHBEARER, token with a wrong signature", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLOAuthBearer(fixedCredential(foreign))},
			driver.CodeUnauthenticated, "SASL/OAUTHBEARER: the broker rejected the login", foreign},
		{"password source fails", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain("app", func(context.Context) (string, error) { return "", errors.New("the vault is sealed") })},
			driver.CodeUnauthenticated, `SASL/PLAIN as "app": cannot get the password: the vault is sealed`, s.Password},
		{"login to a listener without SASL", plain,
			[]kafka.Option{kafka.WithSASLScramSHA512(s.User, fixedCredential(wrong))},
			driver.CodeUnauthenticated, "use the address of a SASL listener", wrong},
		{"no login to a listener with SASL", s.Addrs(kafkatest.ListenerSASLPlaintext),
			nil, driver.CodeUnavailable, "it may require TLS or SASL", s.Password},
		{"plain text to a TLS listener", s.Addrs(kafkatest.ListenerSSL),
			nil, driver.CodeUnavailable, "it may require TLS or SASL", s.Password},
		{"TLS to a plain-text listener", plain,
			[]kafka.Option{encrypted}, driver.CodeUnavailable, "closed the connection during the TLS handshake", s.Password},
		{"unknown CA", s.Addrs(kafkatest.ListenerSSL),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMText(otherCert)})},
			driver.CodeUnauthenticated, "not signed by a trusted CA", s.Password},
		{"CAs of the system", s.Addrs(kafkatest.ListenerSSL),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{})},
			driver.CodeUnauthenticated, "not signed by a trusted CA", s.Password},
		{"wrong server name", s.Addrs(kafkatest.ListenerSSL),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile), ServerName: "other.test"})},
			driver.CodeUnauthenticated, "certificate is for another name", s.Password},
		{"no client certificate", s.Addrs(kafkatest.ListenerMTLS),
			[]kafka.Option{encrypted},
			driver.CodeUnauthenticated, "it may require a client certificate", s.Password},
		{"client certificate of an unknown CA", s.Addrs(kafkatest.ListenerMTLS),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile), Cert: kafka.PEMText(otherCert), Key: kafka.PEMText(otherKey)})},
			driver.CodeUnauthenticated, "the client certificate", otherKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			log := &logBuffer{}
			k := openAddrs(t, c.addrs, append(c.opts, kafka.WithLogger(log.logger()))...)
			seen := observe(k)
			began := time.Now()
			state := driver.Refused
			if c.code == driver.CodeUnavailable {
				state = driver.Disconnected
			}
			cause := seen.await(t, state).Cause
			t.Logf("%v after %v: %v", state, time.Since(began).Round(time.Millisecond), cause)
			s := subscribe(t, k, driver.Subscription{Topic: topic})
			group := subscribe(t, k, driver.Subscription{Topic: topic, Group: kafkatb.Name(t)})

			errs := []error{cause, k.Ping(testContext(t)), publish(t, k, topic, anyPartition("x")...)[0].Err}
			if state == driver.Refused {
				errs = append(errs, k.Ready(testContext(t)))
				for _, session := range []driver.Session{s, group} {
					ev, err := session.Next(testContext(t))
					require.NoError(t, err)
					require.False(t, ev.Assigned)
					errs = append(errs, ev.Cause)
				}
			} else {
				soon, cancel := context.WithCancel(t.Context())
				cancel()
				errs = append(errs, k.Ready(soon))
			}
			for i, err := range errs {
				require.Equal(t, c.code, driver.CodeOf(err), "%d: %v", i, err)
				require.NotContains(t, err.Error(), "\n")
				require.Contains(t, err.Error(), c.want, "%d", i)
				requireNoSecret(t, c.never, err, k, log.String())
			}
			require.NotContains(t, seen.String(), "connected connected")
		})
	}
}

// requireNoSecret prints the values in many ways and checks that the output never contains
// the secret.
func requireNoSecret(t *testing.T, secret string, things ...any) {
	t.Helper()
	for _, thing := range things {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			printed := fmt.Sprintf(verb, thing)
			require.NotContains(t, printed, secret, verb)
			require.NotContains(t, printed, fmt.Sprintf("%x", secret), verb)
			quoted := fmt.Sprintf("%q", secret)
			require.NotContains(t, printed, quoted[1:len(quoted)-1], verb)
		}
	}
}
