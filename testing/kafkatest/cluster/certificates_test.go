//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

func TestSecuredListenersMatchTheirDescription(t *testing.T) {
	t.Parallel()
	s, err := newState(t.TempDir(), "9.9.9", "/libs", 1, true)
	require.NoError(t, err)
	require.NoError(t, write(s))
	p := parseProperties(t, properties(s.Nodes[0], s))
	require.Equal(t, "requested", p["listener.name.ssl.ssl.client.auth"])
	require.Equal(t, "required", p["listener.name.mtls.ssl.client.auth"])
	require.Contains(t, p["listener.security.protocol.map"], "MTLS:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL")
	require.Contains(t, p["listener.name.sasl_ssl.plain.sasl.jaas.config"], s.Password)
	require.Equal(t, "5000", p["listener.name.sasl_ssl.plain.connections.max.reauth.ms"])
	for _, plain := range []string{"listener.name.sasl_plaintext.ssl.keystore.location", "listener.name.plaintext.sasl.enabled.mechanisms"} {
		require.NotContains(t, p, plain)
	}
	for _, file := range []string{s.Nodes[0].propertiesPath(), s.securePath(secureFile), s.securePath(serverFile)} {
		info, err := os.Stat(file)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "%s contains a credential", file)
	}

	d, err := kafkatest.LoadSecure(s.securePath(secureFile))
	require.NoError(t, err)
	require.Equal(t, s.describe(), d)
	ca, err := os.ReadFile(d.CAFile)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	for file, o := range map[string]x509.VerifyOptions{
		s.securePath(serverFile): {Roots: roots, DNSName: "127.0.0.1"},
		d.CertFile:               {Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
	} {
		key := file
		if file == d.CertFile {
			key = d.KeyFile
		}
		pair, err := tls.LoadX509KeyPair(file, key)
		require.NoError(t, err)
		require.IsType(t, &ecdsa.PrivateKey{}, pair.PrivateKey)
		_, err = pair.Leaf.Verify(o)
		require.NoError(t, err, file)
	}
	var keys struct{ Keys []map[string]string }
	raw, err := os.ReadFile(s.securePath(jwksFile))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &keys))
	require.Equal(t, d.TokenKeyID, keys.Keys[0]["kid"])
	require.NoError(t, s.remove())
	require.NoDirExists(t, s.dir)
}

func TestClusterWithoutSecuredListenersHasNoCertificates(t *testing.T) {
	t.Parallel()
	s, err := newState(t.TempDir(), "9.9.9", "/libs", 1, false)
	require.NoError(t, err)
	require.NoError(t, write(s))
	require.NoDirExists(t, s.securePath(""))
	require.Empty(t, s.Nodes[0].SecurePorts)
}

func TestShellQuoteMakesOneWord(t *testing.T) {
	t.Parallel()
	require.Equal(t, `'/a b'`, shellQuote("/a b"))
	require.Equal(t, `'it'\''s'`, shellQuote("it's"))
}
