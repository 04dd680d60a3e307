package kafka_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/kafka"
)

func TestCredentialFileReadsTheFileEachTime(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "password")
	_, err := kafka.CredentialFile(file)
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, file)

	require.NoError(t, os.WriteFile(file, []byte("\n"), 0o600))
	_, err = kafka.CredentialFile(file)
	require.ErrorContains(t, err, "is empty")

	require.NoError(t, os.WriteFile(file, []byte(" hunter2 \r\n"), 0o600))
	s, err := kafka.CredentialFile(file)
	require.NoError(t, err)
	got, err := s(t.Context())
	require.NoError(t, err)
	require.Equal(t, " hunter2 ", got)

	require.NoError(t, os.WriteFile(file, []byte("rotated"), 0o600))
	got, err = s(t.Context())
	require.NoError(t, err)
	require.Equal(t, "rotated", got)
}

func TestCredentialEnvChecksTheNameAndTheValue(t *testing.T) {
	t.Setenv("KAFKA_TEST_PASSWORD", "hunter2")
	s, err := kafka.CredentialEnv("KAFKA_TEST_PASSWORD")
	require.NoError(t, err)
	got, err := s(t.Context())
	require.NoError(t, err)
	require.Equal(t, "hunter2", got)

	_, err = kafka.CredentialEnv("KAFKA_TEST_UNSET")
	require.ErrorContains(t, err, "KAFKA_TEST_UNSET is not set")
	_, err = kafka.CredentialEnv("hunter2") // the secret in the place of its name
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
	require.NotContains(t, err.Error(), "hunter2")
}

func TestSASLOptions(t *testing.T) {
	t.Parallel()
	addrs := []string{"127.0.0.1:1"}
	for name, c := range map[string]struct {
		want string
		opts []kafka.Option
	}{
		"no user":                     {"needs a user and a password", []kafka.Option{kafka.WithSASLScramSHA256("", fixedCredential("x"))}},
		"no password":                 {"needs a user and a password", []kafka.Option{kafka.WithSASLScramSHA512("me", nil)}},
		"user name with a zero byte":  {"zero byte", []kafka.Option{kafka.WithSASLScramSHA512("me\x00", fixedCredential("x"))}},
		"no token":                    {"needs a source of tokens", []kafka.Option{kafka.WithSASLOAuthBearer(nil)}},
		"PLAIN without TLS":           {"without TLS would send the credential in plain text", []kafka.Option{kafka.WithSASLPlain("me", fixedCredential("hunter2"))}},
		"OAUTHBEARER without TLS":     {"without TLS would send the credential in plain text", []kafka.Option{kafka.WithSASLOAuthBearer(fixedCredential("hunter2"))}},
		"PLAIN with WithInsecureSASL": {"", []kafka.Option{kafka.WithInsecureSASL(), kafka.WithSASLPlain("me", fixedCredential("hunter2"))}},
		"SCRAM without TLS":           {"", []kafka.Option{kafka.WithSASLScramSHA256("me", fixedCredential("hunter2"))}},
		"PLAIN with TLS":              {"", []kafka.Option{kafka.WithSASLPlain("me", fixedCredential("hunter2")), kafka.WithTLSFrom(kafka.TLS{})}},
	} {
		k, err := kafka.New(addrs, c.opts...)
		if c.want == "" {
			require.NoError(t, err, name)
			requireNoSecret(t, "hunter2", k)
			require.NoError(t, k.Close(testContext(t)))
			continue
		}
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), name)
		require.ErrorContains(t, err, c.want, name)
		requireNoSecret(t, "hunter2", err)
	}
}

// The network layer inserts the password into the PLAIN login, in each version of the
// request.
func TestPlainLoginAcceptsPasswordsOfAnyLength(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"x", strings.Repeat("é", 60), strings.Repeat("long ", 1000)} {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", password))
		require.NoError(t, err)
		t.Cleanup(c.Close)
		for _, v := range []sarama.KafkaVersion{sarama.V2_0_0_0, sarama.V2_2_0_0, sarama.V2_8_0_0, sarama.V3_6_0_0} {
			k := openAddrs(t, c.ListenAddrs(), kafka.WithVersion(v), kafka.WithInsecureSASL(), kafka.WithSASLPlain("ada", fixedCredential(password)))
			require.NoError(t, k.Ready(testContext(t)), "%d bytes, version %v", len(password), v)
		}
	}
}

func TestUnusableCredentialsAreRejectedBeforeTheyAreSent(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", "x"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	sealed := func(context.Context) (string, error) { return "", errors.New("the vault is sealed") }
	for name, o := range map[string]kafka.Option{
		"the password is empty":              kafka.WithSASLPlain("ada", fixedCredential("")),
		"the password contains a zero byte":  kafka.WithSASLScramSHA256("ada", fixedCredential("hunter2\x00hunter2")),
		"cannot get the password: the vault": kafka.WithSASLScramSHA512("ada", sealed),
		"the token is empty":                 kafka.WithSASLOAuthBearer(fixedCredential("")),
		"the token contains a control":       kafka.WithSASLOAuthBearer(fixedCredential("hunter2\x01auth=x")),
		"cannot get the token: the vault ":   kafka.WithSASLOAuthBearer(sealed),
	} {
		k := openAddrs(t, c.ListenAddrs(), kafka.WithInsecureSASL(), o)
		err := k.Ready(testContext(t))
		require.Contains(t, []driver.Code{driver.CodeUnauthenticated}, driver.CodeOf(err), "%s: %v", name, err)
		if !errors.Is(err, sarama.ErrUnsupportedSASLMechanism) { // the embedded broker may lack it
			require.ErrorContains(t, err, name)
		}
		requireNoSecret(t, "hunter2", err)
	}
}

func TestURLConfiguresTLSAndSASL(t *testing.T) {
	t.Setenv("KAFKA_TEST_PASSWORD", "hunter2")
	dir := t.TempDir()
	ca, own, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "own.pem"), filepath.Join(dir, "key.pem")
	cert, private := certificate(t, later())
	for file, content := range map[string]string{ca: cert, own: cert, key: private} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	password := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("hunter2\n"), 0o600))
	const base = "kafka://127.0.0.1:1?"
	for query, want := range map[string]string{
		"tls=true&ca=" + ca + "&cert=" + own + "&key=" + key + "&server_name=x": "kafka transport on 127.0.0.1:1, TLS",
		"tls=true&sasl=plain&user=me&password_file=" + password:                 `kafka transport on 127.0.0.1:1, TLS, SASL/PLAIN as "me"`,
		"sasl=SCRAM-SHA-512&user=me&password_env=KAFKA_TEST_PASSWORD":           `kafka transport on 127.0.0.1:1, SASL/SCRAM-SHA-512 as "me"`,
		"sasl=scram-sha-256&user=me&password_file=" + password:                  `kafka transport on 127.0.0.1:1, SASL/SCRAM-SHA-256 as "me"`,
		"tls=1&sasl=oauthbearer&token_file=" + password:                         "kafka transport on 127.0.0.1:1, TLS, SASL/OAUTHBEARER",
		"sasl=oauthbearer&token_env=KAFKA_TEST_PASSWORD&insecure_sasl=true":     "kafka transport on 127.0.0.1:1, SASL/OAUTHBEARER",
	} {
		k, err := driver.Open(t.Context(), base+query)
		require.NoError(t, err, query)
		require.Equal(t, want, k.(*kafka.Transport).String())
		requireNoSecret(t, "hunter2", k)
		require.NoError(t, k.Close(testContext(t)))
	}
	for query, want := range map[string]string{
		"ca=" + ca:                                 "ca needs tls=true",
		"tls=false&server_name=x":                  "server_name needs tls=true",
		"tls=maybe":                                "must be true or false",
		"tls=true&ca=" + dir + "/none":             dir + "/none: no such file",
		"tls=true&ca=" + password:                  "no PEM certificate",
		"tls=true&cert=" + own:                     "belong together",
		"sasl=scram-sha-512&user=me":               "needs password_file",
		"sasl=gssapi&user=me&token_env=KAFKA_TEST": "is not set",
		"sasl=x&user=me&password_file=" + password: "must be plain, scram-sha-256",
		"user=me":                   "no mechanism",
		"password_file=" + password: "no mechanism",
		"sasl=plain&user=me&password_file=" + password:                                              "without TLS",
		"sasl=plain&password_file=" + password:                                                      "needs a user",
		"sasl=oauthbearer&user=me&token_file=" + password:                                           "takes no user name",
		"sasl=plain&user=me&password_file=" + password + "&password_env=KAFKA_TEST_PASSWORD":        "names a second credential",
		"sasl=plain&user=me&password=hunter2&tls=true&password_env=KAFKA_TEST_PASSWORD":             "unknown URL parameter password",
		"sasl=scram-sha-256&user=me&password_env=hunter2":                                           "must consist of A to Z",
		"sasl=scram-sha-256&user=me&password_file=" + password + "&password_file=" + password + "2": "more than once",
	} {
		_, err := driver.Open(t.Context(), base+query)
		require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err), query)
		require.ErrorContains(t, err, want, query)
		require.NotContains(t, err.Error(), "\n", query)
		requireNoSecret(t, "hunter2", err)
	}
}
