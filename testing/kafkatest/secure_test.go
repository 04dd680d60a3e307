package kafkatest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

func TestLoadSecureChecksTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secure.json")
	_, err := kafkatest.LoadSecure(file)
	require.ErrorIs(t, err, os.ErrNotExist)

	want := &kafkatest.SecureCluster{User: "me", Listeners: map[string][]string{"SSL": {"h:1"}}}
	write := func() {
		raw, err := json.Marshal(want)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, raw, 0o600))
	}
	write()
	_, err = kafkatest.LoadSecure(file)
	require.ErrorContains(t, err, "does not contain the listener MTLS, only [SSL]")

	for _, l := range []string{kafkatest.ListenerMTLS, kafkatest.ListenerSASLPlaintext, kafkatest.ListenerSASLSSL} {
		want.Listeners[l] = []string{"h:2", "h:3"}
	}
	write()
	got, err := kafkatest.LoadSecure(file)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Equal(t, []string{"h:1"}, got.Addrs(kafkatest.ListenerSSL))

	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err = kafkatest.LoadSecure(file)
	require.ErrorContains(t, err, "is not a description of secured listeners")
}

func TestTokenIsASignedJWT(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	s := &kafkatest.SecureCluster{Issuer: "i", Audience: "a", TokenKeyID: "k", TokenKeyFile: filepath.Join(t.TempDir(), "key.pem")}
	_, err = s.Token("me", time.Now())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(s.TokenKeyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))

	expires := time.Now().Add(-time.Hour)
	token, err := s.Token("me", expires)
	require.NoError(t, err)
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	var claims struct {
		Sub      string
		Iat, Exp int64
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &claims))
	require.Equal(t, "me", claims.Sub)
	require.Equal(t, claims.Exp, expires.Unix())
	require.Less(t, claims.Iat, claims.Exp)
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	require.NoError(t, err)
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	require.NoError(t, rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature))

	_, err = s.TokenSignedBy(nil, "me", expires)
	require.Error(t, err)
}
