package kafka_test

import (
	"context"
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

// changingCredential is a credential that a test changes while it is in use.
type changingCredential struct{ now atomic.Pointer[string] }

func newChangingCredential(s string) *changingCredential {
	c := &changingCredential{}
	c.set(s)
	return c
}

func (c *changingCredential) set(s string) { c.now.Store(&s) }

func (c *changingCredential) get(context.Context) (string, error) { return *c.now.Load(), nil }

// After a wrong credential is corrected, the transport connects, and sessions that were
// opened before continue.
func TestTransportConnectsAfterTheCredentialIsCorrected(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	expired, good := token(t, s, time.Now().Add(-time.Hour)), token(t, s, time.Now().Add(time.Hour))
	otherCert, _ := certificate(t, time.Now().Add(time.Hour))
	for name, c := range map[string]struct {
		listener     string
		wrong, right string
		opts         func(credential kafka.CredentialSource, file string) []kafka.Option
	}{
		"PLAIN": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(password kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain(s.User, password)}
		}},
		"SCRAM-SHA-256": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(password kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithSASLScramSHA256(s.User, password)}
		}},
		"SCRAM-SHA-512": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(password kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithSASLScramSHA512(s.User, password)}
		}},
		"OAUTHBEARER": {kafkatest.ListenerSASLPlaintext, expired, good, func(password kafka.CredentialSource, _ string) []kafka.Option {
			return []kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLOAuthBearer(password)}
		}},
		"password file": {kafkatest.ListenerSASLPlaintext, wrong, s.Password, func(_ kafka.CredentialSource, file string) []kafka.Option {
			password, err := kafka.CredentialFile(file)
			require.NoError(t, err)
			return []kafka.Option{kafka.WithSASLScramSHA512(s.User, password)}
		}},
		"CA file": {kafkatest.ListenerSSL, otherCert, text(t, s.CAFile), func(_ kafka.CredentialSource, file string) []kafka.Option {
			return []kafka.Option{kafka.WithTLSFrom(kafka.TLS{CA: kafka.PEMFile(file)})}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := kafkatb.Topic(t, b, 1)
			now := newChangingCredential(c.wrong)
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
			t.Logf("connected after %v", time.Since(began).Round(time.Millisecond))
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

// After the password changes, new connections of every client use the new one.
func TestNewConnectionsUseARotatedPassword(t *testing.T) {
	t.Parallel()
	s := kafkatb.Secure(t)
	b := kafkatb.New(t)
	admin, err := sarama.NewClusterAdmin(b.Addrs(), adminConfig())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	// SASLprep would change both passwords. Kafka uses them unchanged.
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
		kafkatb.Topic(t, b, 1) // returns when every broker has the topic; every broker then also has the new password
	}
	set(first)
	t.Cleanup(func() {
		_, err := admin.DeleteUserScramCredentials([]sarama.AlterUserScramCredentialsDelete{{Name: user, Mechanism: sarama.SCRAM_MECHANISM_SHA_512}})
		require.NoError(t, err)
	})
	now := newChangingCredential(first)
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
	for { // the claim continues after the outage, or another one replaces it
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
	requireWorks(t, k, kafkatb.Topic(t, b, 1))
	requireNoSecret(t, first, k, log.String())
	requireNoSecret(t, second, k, log.String())
}

// When a login expires, the client renews it on the same connection, with the current
// credential.
func TestExpiringLoginIsRenewedOnTheConnection(t *testing.T) {
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
		require.NoError(t, ctx.Err(), "the password was requested %d times on %d connections", asked.Load(), opened.Load())
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
