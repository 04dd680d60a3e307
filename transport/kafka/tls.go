package kafka

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// PEM holds certificates or a key, in a file or as text. When printed, it shows the name of
// the file, never the content. The zero PEM is not set.
type PEM struct {
	name string
	// read is a function, because package fmt prints only the address of a function. So a
	// printed struct that contains a PEM never shows the text.
	read func() ([]byte, error)
}

// PEMFile returns a PEM that is read from a file. The transport reads the file in New and
// again for each connection, so a renewed certificate takes effect without a restart.
func PEMFile(path string) PEM {
	return PEM{name: "file " + path, read: func() ([]byte, error) { return os.ReadFile(path) }}
}

// PEMText returns a PEM with this text.
func PEMText(text string) PEM {
	return PEM{name: "inline text", read: func() ([]byte, error) { return []byte(text), nil }}
}

// String returns "file PATH" or "inline text", or "" if p is not set.
func (p PEM) String() string { return p.name }

// TLS configures the encryption of connections. The zero value trusts the CAs of the
// system and sends no client certificate.
type TLS struct {
	// CA contains the certificates to trust instead of those of the system.
	CA PEM
	// Cert is the client certificate for brokers that request one (mTLS), followed by
	// intermediate certificates if there are any. Key is its private key, not encrypted.
	// Set both or neither.
	Cert, Key PEM
	// ServerName is the name that the brokers' certificates must be valid for. The default
	// is the host of each broker's address.
	ServerName string
	// MinVersion is the lowest version of TLS, tls.VersionTLS12 or tls.VersionTLS13. The
	// default is tls.VersionTLS12.
	MinVersion uint16
}

// WithTLSFrom makes connections use TLS 1.2 or later, with certificates from PEM files or
// texts. New returns an error if they are unusable, or if the client certificate has
// expired. The transport reads files again for each connection. If a file is unusable
// then, the transport logs that and uses the content that it read last.
func WithTLSFrom(s TLS) Option {
	return func(o *options) error {
		if s.MinVersion != 0 && (s.MinVersion < tls.VersionTLS12 || s.MinVersion > tls.VersionTLS13) {
			return invalid("TLS: MinVersion must be tls.VersionTLS12 or tls.VersionTLS13")
		}
		source := &tlsSource{settings: s}
		cfg, err := source.load()
		if err != nil {
			return err
		}
		for _, client := range cfg.Certificates {
			if end := client.Leaf.NotAfter; time.Now().After(end) {
				return invalid(fmt.Sprintf("the TLS certificate (%v) expired at %s: renew it", s.Cert, end.UTC().Format(time.RFC3339)))
			}
		}
		o.tls = source
		return nil
	}
}

// tlsSource returns the TLS configuration for each connection. It is safe for concurrent
// use.
type tlsSource struct {
	fixed    *tls.Config // the user's configuration; nil to use settings
	settings TLS

	mu    sync.Mutex
	texts [3][]byte // the CA, certificate and key of last
	last  *tls.Config
}

// config returns the configuration for a connection to host. The caller must not change
// it.
func (e *tlsSource) config(host string, log *slog.Logger) *tls.Config {
	cfg := e.fixed
	if cfg == nil {
		var err error
		if cfg, err = e.load(); err != nil {
			log.Warn("cannot use the TLS files, continuing with their last usable content", "error", err)
			cfg = e.lastLoaded()
		}
	}
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	return cfg
}

func (e *tlsSource) lastLoaded() *tls.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// load reads the PEMs of the settings. It parses them only if they have changed.
func (e *tlsSource) load() (*tls.Config, error) {
	s := e.settings
	if (s.Cert.read == nil) != (s.Key.read == nil) {
		return nil, invalid("the TLS certificate and its key belong together: set both or neither")
	}
	var texts [3][]byte
	for i, p := range []struct {
		what string
		PEM
	}{{"CA", s.CA}, {"certificate", s.Cert}, {"key", s.Key}} {
		if p.read == nil {
			continue
		}
		text, err := p.read()
		if err != nil {
			return nil, invalidBecause("cannot read the TLS "+p.what, err)
		}
		texts[i] = text
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.last != nil && bytes.Equal(e.texts[0], texts[0]) && bytes.Equal(e.texts[1], texts[1]) && bytes.Equal(e.texts[2], texts[2]) {
		return e.last, nil
	}
	cfg, err := s.parse(texts[0], texts[1], texts[2])
	if err != nil {
		return nil, err
	}
	e.texts, e.last = texts, cfg
	return cfg, nil
}

func (s TLS) parse(ca, cert, key []byte) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: max(s.MinVersion, tls.VersionTLS12), ServerName: s.ServerName}
	if s.CA.read != nil {
		roots, err := certPool(ca)
		if err != nil {
			return nil, invalidBecause(fmt.Sprintf("cannot use the TLS CA (%v)", s.CA), err)
		}
		cfg.RootCAs = roots
	}
	if s.Cert.read != nil {
		if isEncryptedKey(key) {
			return nil, invalid(fmt.Sprintf("the TLS key (%v) is encrypted: decrypt it, and make the file readable for this program only", s.Key))
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, invalidBecause(fmt.Sprintf("cannot use the TLS certificate (%v) and key (%v)", s.Cert, s.Key), err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// certPool returns an error for a certificate that it cannot parse.
// x509.CertPool.AppendCertsFromPEM would skip it.
func certPool(text []byte) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	found := false
	for rest := text; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		roots.AddCert(c)
		found = true
	}
	if !found {
		return nil, errors.New("it contains no PEM certificate")
	}
	return roots, nil
}

func isEncryptedKey(key []byte) bool {
	for {
		var block *pem.Block
		if block, key = pem.Decode(key); block == nil {
			return false
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return true
		}
	}
}

// hasClientCert reports whether brokers can get a client certificate.
func (e *tlsSource) hasClientCert() bool {
	cfg := e.fixed
	if cfg == nil {
		cfg = e.lastLoaded()
	}
	return len(cfg.Certificates) > 0 || cfg.GetClientCertificate != nil
}
