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

// PEM is certificates or a key, in a file or as a text. Printing it shows the file's
// name, and never the content. The zero PEM is none.
type PEM struct {
	name string
	read func() ([]byte, error) // a function, so that no printing of a struct around it shows the text
}

// PEMFile is PEM in a file. The file is read when the transport is made, and again
// before each connection, so a renewed certificate is picked up.
func PEMFile(path string) PEM {
	return PEM{name: "file " + path, read: func() ([]byte, error) { return os.ReadFile(path) }}
}

// PEMText is PEM as a text.
func PEMText(text string) PEM {
	return PEM{name: "inline text", read: func() ([]byte, error) { return []byte(text), nil }}
}

// String returns "file PATH", "inline text", or "" for none.
func (p PEM) String() string { return p.name }

// TLS says how connections are encrypted, and what each side shows to the other. The
// zero value trusts the CAs of the system and shows no certificate.
type TLS struct {
	// CA are the certificates to trust, instead of the system's.
	CA PEM
	// Cert is the certificate to show to brokers that ask for one (mTLS), followed by
	// intermediate ones if there are any; Key is its unencrypted private key. They go
	// together.
	Cert, Key PEM
	// ServerName is what the brokers' certificates must be for, instead of the names that
	// the brokers are connected to by.
	ServerName string
	// MinVersion is the least version of TLS, tls.VersionTLS12 by default.
	MinVersion uint16
}

// WithTLSFrom makes connections use TLS, 1.2 or later, with certificates from PEM files
// or texts. What is wrong with those is an error of New, and so is a certificate of
// one's own that has expired. Files are read again before each connection; when they
// then can't be used, what was read last still is, and the logger is told.
func WithTLSFrom(s TLS) Option {
	return func(o *options) error {
		if s.MinVersion != 0 && (s.MinVersion < tls.VersionTLS12 || s.MinVersion > tls.VersionTLS13) {
			return invalid("the least version of TLS is neither 1.2 nor 1.3")
		}
		e := &encryption{settings: s}
		cfg, err := e.load()
		if err != nil {
			return err
		}
		for _, own := range cfg.Certificates {
			if end := own.Leaf.NotAfter; time.Now().After(end) {
				return invalid(fmt.Sprintf("the TLS certificate (%v) has expired at %s: renew it", s.Cert, end.UTC().Format(time.RFC3339)))
			}
		}
		o.tls = e
		return nil
	}
}

// encryption gives each connection its TLS configuration. It is safe for concurrent use.
type encryption struct {
	fixed    *tls.Config // from the user, instead of settings
	settings TLS

	mu    sync.Mutex
	texts [3][]byte // CA, certificate and key as last is made of
	last  *tls.Config
}

// config returns the configuration for a connection to host. It is not to be changed.
func (e *encryption) config(host string, log *slog.Logger) *tls.Config {
	cfg := e.fixed
	if cfg == nil {
		var err error
		if cfg, err = e.load(); err != nil {
			log.Warn("the TLS files can't be used, going on with what they were", "error", err)
			cfg = e.present()
		}
	}
	if cfg.ServerName == "" {
		cfg = cfg.Clone()
		cfg.ServerName = host
	}
	return cfg
}

func (e *encryption) present() *tls.Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last
}

// load reads the settings' PEM. What has not changed is not parsed again.
func (e *encryption) load() (*tls.Config, error) {
	s := e.settings
	if (s.Cert.read == nil) != (s.Key.read == nil) {
		return nil, invalid("the TLS certificate and its key go together: give both or neither")
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
			return nil, invalidBecause("the TLS "+p.what+" can't be read", err)
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
		roots, err := pool(ca)
		if err != nil {
			return nil, invalidBecause(fmt.Sprintf("the TLS CA (%v) can't be used", s.CA), err)
		}
		cfg.RootCAs = roots
	}
	if s.Cert.read != nil {
		if encrypted(key) {
			return nil, invalid(fmt.Sprintf("the TLS key (%v) is encrypted: give it decrypted, readable by this program only", s.Key))
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, invalidBecause(fmt.Sprintf("the TLS certificate (%v) and key (%v) can't be used", s.Cert, s.Key), err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// pool is strict where x509.CertPool.AppendCertsFromPEM passes over what it can't read.
func pool(text []byte) (*x509.CertPool, error) {
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
		return nil, errors.New("it holds no PEM certificate")
	}
	return roots, nil
}

func encrypted(key []byte) bool {
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

// shows says whether there is a certificate to show to brokers.
func (e *encryption) shows() bool {
	cfg := e.fixed
	if cfg == nil {
		cfg = e.present()
	}
	return len(cfg.Certificates) > 0 || cfg.GetClientCertificate != nil
}
