//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

const (
	secureDir  = "secure"
	secureFile = "secure.json" // describes the secured listeners to tests
	caFile     = "ca.pem"
	serverFile = "server.pem" // the brokers' key, certificate and CA
	jwksFile   = "jwks.json"

	tokenIssuer   = "https://issuer.test"
	tokenAudience = "kafka"
	tokenKeyID    = "cluster"
	user          = "app"
)

// validity is the lifetime of the certificates. It is longer than that of any cluster.
const validity = 30 * 24 * time.Hour

func (s *state) securePath(name string) string { return filepath.Join(s.dir, secureDir, name) }

// jwksURL returns the URL of the keys that verify tokens. A JVM reads a file: URL only if
// a system property allows it; see launch.
func (s *state) jwksURL() string {
	return (&url.URL{Scheme: "file", Path: s.securePath(jwksFile)}).String()
}

// writeCredentials writes the certificates, the keys and the key set of the secured
// listeners, and the file that describes them to tests.
func writeCredentials(s *state) error {
	if err := os.MkdirAll(filepath.Join(s.dir, secureDir), 0o700); err != nil {
		return fmt.Errorf("create the folder of certificates: %w", err)
	}
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	server, serverKey, err := ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "broker"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
	if err != nil {
		return err
	}
	client, clientKey, err := ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: user},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	tokenKey, jwks, err := newTokenKey()
	if err != nil {
		return err
	}
	described, err := json.MarshalIndent(s.describe(), "", "  ")
	if err != nil {
		return fmt.Errorf("describe the secured listeners: %w", err)
	}
	for name, content := range map[string][]byte{
		caFile:           ca.pem,
		serverFile:       slices.Concat(serverKey, server, ca.pem),
		"client.pem":     client,
		"client-key.pem": clientKey,
		"token-key.pem":  tokenKey,
		jwksFile:         jwks,
		secureFile:       described,
	} {
		if err := os.WriteFile(s.securePath(name), content, 0o600); err != nil {
			return fmt.Errorf("write the secured listeners' files: %w", err)
		}
	}
	return nil
}

func (s *state) describe() *kafkatest.SecureCluster {
	d := &kafkatest.SecureCluster{
		Listeners: make(map[string][]string),
		CAFile:    s.securePath(caFile), CertFile: s.securePath("client.pem"), KeyFile: s.securePath("client-key.pem"),
		User: user, Password: s.Password,
		Issuer: tokenIssuer, Audience: tokenAudience, TokenKeyFile: s.securePath("token-key.pem"), TokenKeyID: tokenKeyID,
	}
	for _, n := range s.Nodes {
		for name, port := range n.SecurePorts {
			d.Listeners[name] = append(d.Listeners[name], fmt.Sprintf("127.0.0.1:%d", port))
		}
	}
	return d
}

// authority is a certificate authority. Its key exists only while up runs.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("create a CA: %w", err)
	}
	ca := &authority{key: key}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "throwaway test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(validity),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("create a CA: %w", err)
	}
	if ca.certificate, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("create a CA: %w", err)
	}
	ca.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca, nil
}

// issue completes the template and returns the certificate and its key as PEM.
func (ca *authority) issue(template *x509.Certificate) (certificate, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("create a key: %w", err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, fmt.Errorf("create a serial number: %w", err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(validity)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificate, private.Public(), ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue a certificate: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// newTokenKey returns the key for signing tokens as PEM, and the key set with its public
// key.
func newTokenKey() (key, jwks []byte, err error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, nil, fmt.Errorf("create a key for tokens: %w", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, fmt.Errorf("encode the key for tokens: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	jwks, err = json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": tokenKeyID,
		"n": encode(private.N.Bytes()), "e": encode(big.NewInt(int64(private.E)).Bytes()),
	}}})
	if err != nil {
		return nil, nil, fmt.Errorf("write the key set: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), jwks, nil
}
