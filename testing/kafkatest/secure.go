package kafkatest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
)

// The secured listeners of a cluster that command cluster starts. Each broker has
// all of them, beside the plain one.
const (
	// ListenerSSL encrypts, and looks at a client's certificate if there is one.
	ListenerSSL = "SSL"
	// ListenerMTLS encrypts, and requires a client's certificate.
	ListenerMTLS = "MTLS"
	// ListenerSASLPlaintext authenticates by SASL and does not encrypt.
	ListenerSASLPlaintext = "SASL_PLAINTEXT"
	// ListenerSASLSSL authenticates by SASL and encrypts. A login with PLAIN lasts 5 s
	// and must then be renewed, on the same connection (KIP-368).
	ListenerSASLSSL = "SASL_SSL"
)

// Secure describes the secured listeners of a real cluster, and what opens them.
// Everything in it is made for one cluster and worth nothing elsewhere. It is the
// content of the file that the cluster command writes. The SASL listeners take PLAIN,
// SCRAM-SHA-256 and SCRAM-SHA-512 with User and Password, and OAUTHBEARER with a
// token from [Secure.Token]. It is not changed after it was loaded.
type Secure struct {
	// Listeners are the brokers' addresses, by listener.
	Listeners map[string][]string `json:"listeners"`
	// CAFile holds the certificate that the brokers' are signed with, which are for
	// 127.0.0.1 and localhost.
	CAFile string `json:"ca_file"`
	// CertFile and KeyFile are a client's certificate and key, by the same CA.
	CertFile string `json:"cert_file"`
	KeyFile  string `json:"key_file"`
	// User and Password are the one user's.
	User     string `json:"user"`
	Password string `json:"password"`
	// Issuer and Audience are what the brokers want of a token, signed RS256 with the
	// key in TokenKeyFile, whose public half they know as TokenKeyID.
	Issuer       string `json:"issuer"`
	Audience     string `json:"audience"`
	TokenKeyFile string `json:"token_key_file"`
	TokenKeyID   string `json:"token_key_id"`
}

// LoadSecure reads the file that the cluster command has written.
func LoadSecure(file string) (*Secure, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: read the secured listeners' description: %w", err)
	}
	s := &Secure{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("kafkatest: %s describes no secured listeners: %w", file, err)
	}
	for _, l := range []string{ListenerSSL, ListenerMTLS, ListenerSASLPlaintext, ListenerSASLSSL} {
		if len(s.Listeners[l]) == 0 {
			return nil, fmt.Errorf("kafkatest: %s has no listener %s, it has %v", file, l, slices.Sorted(maps.Keys(s.Listeners)))
		}
	}
	return s, nil
}

// Addrs returns the brokers' addresses at a listener.
func (s *Secure) Addrs(listener string) []string { return slices.Clone(s.Listeners[listener]) }

// Token returns a token for OAUTHBEARER that is good from a minute ago until it
// expires. Brokers forgive a clock that is 30 s off, so one that is to be refused
// expired at least that long ago.
func (s *Secure) Token(subject string, expires time.Time) (string, error) {
	text, err := os.ReadFile(s.TokenKeyFile)
	if err != nil {
		return "", fmt.Errorf("kafkatest: read the key that signs tokens: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("kafkatest: %s holds no PEM key", s.TokenKeyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("kafkatest: %s holds no PKCS#8 key: %w", s.TokenKeyFile, err)
	}
	signer, ok := key.(*rsa.PrivateKey)
	if !ok {
		return "", fmt.Errorf("kafkatest: %s holds no RSA key", s.TokenKeyFile)
	}
	return s.TokenBy(signer, subject, expires)
}

// TokenBy is Token signed by another key, under the name of the right one: brokers
// refuse it.
func (s *Secure) TokenBy(key *rsa.PrivateKey, subject string, expires time.Time) (string, error) {
	if key == nil {
		return "", errors.New("kafkatest: no key to sign a token with")
	}
	now := time.Now()
	head, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": s.TokenKeyID})
	if err != nil {
		return "", fmt.Errorf("kafkatest: make a token: %w", err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": s.Issuer, "aud": s.Audience, "sub": subject, "exp": expires.Unix(),
		"iat": min(now.Add(-time.Minute).Unix(), expires.Add(-time.Minute).Unix()),
	})
	if err != nil {
		return "", fmt.Errorf("kafkatest: make a token: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	token := encode(head) + "." + encode(claims)
	digest := sha256.Sum256([]byte(token))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		return "", fmt.Errorf("kafkatest: sign a token: %w", err)
	}
	return token + "." + encode(signature), nil
}
