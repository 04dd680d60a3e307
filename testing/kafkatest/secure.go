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

// The secured listeners of a cluster that the command cluster starts. Each broker
// has all of them, and a plain-text listener.
const (
	// ListenerSSL uses TLS. A client certificate is optional.
	ListenerSSL = "SSL"
	// ListenerMTLS uses TLS and requires a client certificate.
	ListenerMTLS = "MTLS"
	// ListenerSASLPlaintext uses SASL without TLS.
	ListenerSASLPlaintext = "SASL_PLAINTEXT"
	// ListenerSASLSSL uses SASL with TLS. A login with PLAIN expires after 5 s, and the
	// client must renew it on the same connection (KIP-368).
	ListenerSASLSSL = "SASL_SSL"
)

// SecureCluster describes the secured listeners of a real cluster, with the
// credentials for them. The credentials are valid for this cluster only. The command
// cluster writes it to a file. The SASL listeners accept PLAIN, SCRAM-SHA-256 and
// SCRAM-SHA-512 with User and Password, and OAUTHBEARER with a token from
// [SecureCluster.Token]. It is immutable after [LoadSecure].
type SecureCluster struct {
	// Listeners are the brokers' addresses, by the name of the listener.
	Listeners map[string][]string `json:"listeners"`
	// CAFile contains the CA of the brokers' certificates, which are valid for
	// 127.0.0.1 and localhost.
	CAFile string `json:"ca_file"`
	// CertFile and KeyFile contain a client certificate of the same CA, and its key.
	CertFile string `json:"cert_file"`
	KeyFile  string `json:"key_file"`
	// User and Password are those of the only user.
	User     string `json:"user"`
	Password string `json:"password"`
	// Issuer and Audience are those that the brokers require in a token. A token must be
	// signed by RS256 with the key in TokenKeyFile. The brokers have its public key under
	// the ID TokenKeyID.
	Issuer       string `json:"issuer"`
	Audience     string `json:"audience"`
	TokenKeyFile string `json:"token_key_file"`
	TokenKeyID   string `json:"token_key_id"`
}

// LoadSecure reads the file that the command cluster has written.
func LoadSecure(file string) (*SecureCluster, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: read the description of the secured listeners: %w", err)
	}
	s := &SecureCluster{}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("kafkatest: %s is not a description of secured listeners: %w", file, err)
	}
	for _, l := range []string{ListenerSSL, ListenerMTLS, ListenerSASLPlaintext, ListenerSASLSSL} {
		if len(s.Listeners[l]) == 0 {
			return nil, fmt.Errorf("kafkatest: %s does not contain the listener %s, only %v", file, l, slices.Sorted(maps.Keys(s.Listeners)))
		}
	}
	return s, nil
}

// Addrs returns the addresses of a listener, one for each broker. The caller owns the
// slice.
func (s *SecureCluster) Addrs(listener string) []string { return slices.Clone(s.Listeners[listener]) }

// Token returns a token for OAUTHBEARER that is valid from one minute ago until the
// given expiry time. Brokers tolerate a clock difference of 30 s, so they reject a
// token only if it expired at least that long ago.
func (s *SecureCluster) Token(subject string, expires time.Time) (string, error) {
	text, err := os.ReadFile(s.TokenKeyFile)
	if err != nil {
		return "", fmt.Errorf("kafkatest: read the key for signing tokens: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("kafkatest: %s contains no PEM key", s.TokenKeyFile)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("kafkatest: %s contains no PKCS#8 key: %w", s.TokenKeyFile, err)
	}
	signer, ok := key.(*rsa.PrivateKey)
	if !ok {
		return "", fmt.Errorf("kafkatest: %s contains no RSA key", s.TokenKeyFile)
	}
	return s.TokenSignedBy(signer, subject, expires)
}

// TokenSignedBy returns a token like Token, signed by key but with the ID of the
// brokers' key. Brokers reject it unless key is theirs.
func (s *SecureCluster) TokenSignedBy(key *rsa.PrivateKey, subject string, expires time.Time) (string, error) {
	if key == nil {
		return "", errors.New("kafkatest: sign a token: the key must not be nil")
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
