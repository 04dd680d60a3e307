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
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// wrong is a secret that no message of anybody may hold.
const wrong = "wr0ng-hunter2-\"%s\\n"

func secret(s string) kafka.CredentialSource {
	return func(context.Context) (string, error) { return s, nil }
}

// changing is a secret that is put right, or wrong, while it is in use.
type changing struct{ now atomic.Pointer[string] }

func change(s string) *changing {
	c := &changing{}
	c.set(s)
	return c
}

func (c *changing) set(s string) { c.now.Store(&s) }

func (c *changing) get(context.Context) (string, error) { return *c.now.Load(), nil }

type way struct {
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

// waysIn are those that must work.
func waysIn(t *testing.T, s *kafkatest.SecureCluster) []way {
	t.Helper()
	ca := kafka.TLS{CA: kafka.PEMFile(s.CAFile)}
	encrypted := kafka.WithTLSFrom(ca)
	password := secret(s.Password)
	named := ca
	named.ServerName, named.MinVersion = "localhost", tls.VersionTLS13
	mutual := kafka.TLS{CA: kafka.PEMFile(s.CAFile), Cert: kafka.PEMFile(s.CertFile), Key: kafka.PEMFile(s.KeyFile)}
	inline := kafka.TLS{CA: kafka.PEMText(text(t, s.CAFile)), Cert: kafka.PEMText(text(t, s.CertFile)), Key: kafka.PEMText(text(t, s.KeyFile))}
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(text(t, s.CAFile))))
	bearer := secret(token(t, s, time.Now().Add(time.Hour)))
	return []way{
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

// enter returns a transport that is closed when t ends.
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

// works publishes and reads what it published, with a group and without.
func works(t *testing.T, k *kafka.Transport, topic string) {
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

func TestWaysIn(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	for _, w := range waysIn(t, s) {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			k := openAddrs(t, s.Addrs(w.listener), w.opts...)
			require.NoError(t, k.Ready(testContext(t)))
			t.Logf("ready after %v: %v", time.Since(began).Round(time.Millisecond), k)
			works(t, k, kafkatb.Topic(t, b, 1))
		})
	}
}

// certificate makes one for 127.0.0.1 that is signed by itself.
func certificate(t *testing.T, expires time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "stranger"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
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

func TestWaysThatAreBarred(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	encrypted := kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile)})
	strange, strangeKey := certificate(t, time.Now().Add(time.Hour))
	strangeSigner, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	foreign, err := s.TokenSignedBy(strangeSigner, s.User, time.Now().Add(time.Hour))
	require.NoError(t, err)
	expired := token(t, s, time.Now().Add(-time.Hour))
	plain := b.Addrs()
	for _, c := range []struct {
		name  string
		addrs []string
		opts  []kafka.Option
		code  driver.Code
		want  string // the message says
		never string // a secret
	}{
		{"PLAIN, wrong password", s.Addrs(kafkatest.ListenerSASLSSL),
			[]kafka.Option{encrypted, kafka.WithSASLPlain(s.User, secret(wrong))},
			driver.CodeUnauthenticated, `SASL/PLAIN as "app": the broker rejected the login`, wrong},
		{"PLAIN, unknown user", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain("nobody", secret(s.Password))},
			driver.CodeUnauthenticated, `SASL/PLAIN as "nobody": the broker rejected the login`, s.Password},
		{"SCRAM-SHA-256, wrong password", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithSASLScramSHA256(s.User, secret(wrong))},
			driver.CodeUnauthenticated, `SASL/SCRAM-SHA-256 as "app": the broker rejected the login`, wrong},
		{"SCRAM-SHA-512, wrong password", s.Addrs(kafkatest.ListenerSASLSSL),
			[]kafka.Option{encrypted, kafka.WithSASLScramSHA512(s.User, secret(wrong))},
			driver.CodeUnauthenticated, `SASL/SCRAM-SHA-512 as "app": the broker rejected the login`, wrong},
		{"OAUTHBEARER, expired token", s.Addrs(kafkatest.ListenerSASLSSL),
			[]kafka.Option{encrypted, kafka.WithSASLOAuthBearer(secret(expired))},
			driver.CodeUnauthenticated, "SASL/OAUTHBEARER: the broker rejected the login", expired},
		{"OAUTHBEARER, token signed by a stranger", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLOAuthBearer(secret(foreign))},
			driver.CodeUnauthenticated, "SASL/OAUTHBEARER: the broker rejected the login", foreign},
		{"no password to be had", s.Addrs(kafkatest.ListenerSASLPlaintext),
			[]kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain("app", func(context.Context) (string, error) { return "", errors.New("the vault is sealed") })},
			driver.CodeUnauthenticated, `SASL/PLAIN as "app": cannot get the password: the vault is sealed`, s.Password},
		{"login where none is expected", plain,
			[]kafka.Option{kafka.WithSASLScramSHA512(s.User, secret(wrong))},
			driver.CodeUnauthenticated, "use the address of a SASL listener", wrong},
		{"no login where one is expected", s.Addrs(kafkatest.ListenerSASLPlaintext),
			nil, driver.CodeUnavailable, "it may require TLS or SASL", s.Password},
		{"plain text on a TLS port", s.Addrs(kafkatest.ListenerSSL),
			nil, driver.CodeUnavailable, "it may require TLS or SASL", s.Password},
		{"TLS on a plain-text port", plain,
			[]kafka.Option{encrypted}, driver.CodeUnavailable, "closed the connection during the TLS handshake", s.Password},
		{"unknown CA", s.Addrs(kafkatest.ListenerSSL),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMText(strange)})},
			driver.CodeUnauthenticated, "not signed by a trusted CA", s.Password},
		{"the system's CAs", s.Addrs(kafkatest.ListenerSSL),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{})},
			driver.CodeUnauthenticated, "not signed by a trusted CA", s.Password},
		{"wrong server name", s.Addrs(kafkatest.ListenerSSL),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile), ServerName: "other.test"})},
			driver.CodeUnauthenticated, "certificate is for another name", s.Password},
		{"no certificate where one is required", s.Addrs(kafkatest.ListenerMTLS),
			[]kafka.Option{encrypted},
			driver.CodeUnauthenticated, "it may require a client certificate", s.Password},
		{"a stranger's certificate", s.Addrs(kafkatest.ListenerMTLS),
			[]kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile), Cert: kafka.PEMText(strange), Key: kafka.PEMText(strangeKey)})},
			driver.CodeUnauthenticated, "the client certificate", strangeKey},
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
				noSecret(t, c.never, err, k, log.String())
			}
			require.NotContains(t, seen.String(), "connected connected")
		})
	}
}

// noSecret looks for a secret in all that can be printed of the things.
func noSecret(t *testing.T, secret string, things ...any) {
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

// What was wrong is put right, and the transport comes back by itself, on sessions that
// were opened before.
func TestRefusalIsMended(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	expired, good := token(t, s, time.Now().Add(-time.Hour)), token(t, s, time.Now().Add(time.Hour))
	strange, _ := certificate(t, time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		listener     string
		wrong, right string
		opts         func(secret kafka.CredentialSource, file string) []kafka.Option
	}{
		"PLAIN": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(secret kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain(s.User, secret)}
		}},
		"SCRAM-SHA-256": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(secret kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithSASLScramSHA256(s.User, secret)}
		}},
		"SCRAM-SHA-512": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(secret kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithSASLScramSHA512(s.User, secret)}
		}},
		"OAUTHBEARER": {kafkatest.ListenerSASLPlaintext, expired, good, func(secret kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLOAuthBearer(secret)}
		}},
		"password file": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(_ kafka.CredentialSource, file string) []kafka.Option {
			secret, err := kafka.CredentialFile(file)
			require.NoError(t, err)
			return []kafka.Option{kafka.WithSASLScramSHA512(s.User, secret)}
		}},
		"CA file": {kafkatest.ListenerSSL, strange, text(t, s.CAFile), func(_ kafka.CredentialSource, file string) []kafka.Option {
			return []kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(file)})}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := kafkatb.Topic(t, b, 1)
			now := change(c.wrong)
			file := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(file, []byte(c.wrong), 0o600))
			k := openAddrs(t, s.Addrs(c.listener), c.opts(now.get, file)...)
			seen := observe(k)
			seen.await(t, driver.Refused)
			group := subscribe(t, k, driver.Subscription{Topic: topic, Group: kafkatb.Name(t)})
			reader := subscribe(t, k, driver.Subscription{Topic: topic, Start: driver.Start{Kind: driver.StartOldest}})

			now.set(c.right)
			require.NoError(t, os.WriteFile(file, []byte(c.right), 0o600))
			began := time.Now()
			seen.await(t, driver.Connected)
			t.Logf("mended after %v", time.Since(began).Round(time.Millisecond))
			requirePublished(t, publish(t, k, topic, anyPartition("x")...))
			for _, session := range []driver.Session{group, reader} {
				p := awaitAssigned(t, session)
				require.Equal(t, "x", string(fetch(t, p[0], 1)[0].Payload))
				p[0].Release()
			}
			require.Equal(t, "refused connected", strings.TrimPrefix(seen.String(), "connecting "))
		})
	}
}

// The secret changes while everything works: connections that are made later use the
// new one, whatever client of sarama's they belong to.
func TestRotatedPassword(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	admin, err := sarama.NewClusterAdmin(b.Addrs(), adminConfig())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	// Neither is what SASLprep would let through unchanged: Kafka takes them as they are.
	first, second := "Ⅸ\u00ad–ﬁrst", "zwei 🔑 öffnen"
	user := kafkatb.Name(t)
	set := func(password string) {
		t.Helper()
		results, err := admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{{
			Name: user, Mechanism: sarama.SCRAM_MECHANISM_SHA_512, Iterations: 4096, Salt: []byte("salt of the test"), Password: []byte(password),
		}})
		require.NoError(t, err)
		for _, r := range results {
			require.Equal(t, sarama.ErrNoError, r.ErrorCode, "%v", r.ErrorMessage)
		}
		kafkatb.Topic(t, b, 1) // who knows of it knows what came before it, and every broker does
	}
	set(first)
	t.Cleanup(func() {
		_, err := admin.DeleteUserScramCredentials([]sarama.AlterUserScramCredentialsDelete{{Name: user, Mechanism: sarama.SCRAM_MECHANISM_SHA_512}})
		require.NoError(t, err)
	})
	now := change(first)
	d, log := &kafkatest.Dialer{}, &logBuffer{}
	k := openAddrs(t, s.Addrs(kafkatest.ListenerSASLSSL), kafka.WithLogger(log.logger()), kafka.WithDialer(d.DialContext),
		kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile)}), kafka.WithSASLScramSHA512(user, now.get))
	seen := observe(k)
	topic := kafkatb.Topic(t, b, 1)
	require.NoError(t, k.Ready(testContext(t)))
	session := subscribe(t, k, driver.Subscription{Topic: topic, Group: kafkatb.Name(t)})
	p := awaitAssigned(t, session)
	requirePublished(t, publish(t, k, topic, anyPartition("before")...))
	require.Equal(t, "before", string(fetch(t, p[0], 1)[0].Payload))
	require.NoError(t, p[0].Commit(testContext(t), 1, ""))

	set(second)
	now.set(second)
	d.Cut()
	seen.await(t, driver.Disconnected)
	d.Restore()
	seen.await(t, driver.Connected)
	requirePublished(t, publish(t, k, topic, anyPartition("after")...))
	for { // the claim outlives the cut, or another one follows it
		records, err := p[0].Fetch(testContext(t))
		if err == nil {
			require.Equal(t, "after", string(records[0].Payload))
			break
		}
		require.Error(t, p[0].Context().Err(), "%v", err)
		p[0].Release()
		for p = nil; len(p) == 0; {
			p = awaitAssigned(t, session)
		}
	}
	p[0].Release()
	works(t, k, kafkatb.Topic(t, b, 1))
	noSecret(t, first, k, log.String())
	noSecret(t, second, k, log.String())
}

// A login that the broker limits is renewed with the secret as it is then, on the
// connection that it is for.
func TestLoginIsRenewed(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	topic := kafkatb.Topic(t, b, 1)
	var asked, opened atomic.Int64
	var dialer net.Dialer
	k := openAddrs(t, s.Addrs(kafkatest.ListenerSASLSSL),
		kafka.WithDialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			opened.Add(1)
			return dialer.DialContext(ctx, network, addr)
		}),
		kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(s.CAFile)}),
		kafka.WithSASLPlain(s.User, func(context.Context) (string, error) {
			asked.Add(1)
			return s.Password, nil
		}))
	seen := observe(k)
	seen.await(t, driver.Connected)
	ctx, sent := testContext(t), 0
	for asked.Load() < opened.Load()+3 {
		require.NoError(t, ctx.Err(), "the password was asked for %d times on %d connections", asked.Load(), opened.Load())
		requirePublished(t, publish(t, k, topic, anyPartition("x")...))
		sent++
	}
	t.Logf("%d messages, %d connections, %d logins", sent, opened.Load(), asked.Load())
	require.NotContains(t, seen.String(), "connected disconnected")
}

func adminConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V2_8_0_0
	return c
}
