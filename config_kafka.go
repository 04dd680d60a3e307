package trunkline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// KafkaSecurity configures TLS and SASL for connections to Kafka brokers. The zero
// value means plain text without authentication. Secrets are never flags, because
// every user of a machine can read the flags of its processes.
type KafkaSecurity struct {
	// TLS encrypts connections and verifies the certificates of the brokers. The flag is
	// -kafka-tls.
	TLS bool
	// CAFile is a PEM file with the certificates to trust instead of the system's. The
	// flag is -kafka-ca-file.
	CAFile string
	// CertFile and KeyFile are PEM files with the program's own certificate and private
	// key, for brokers that require one. The flags are -kafka-cert-file and
	// -kafka-key-file.
	CertFile, KeyFile string
	// ServerName is the name to expect in the certificates of the brokers instead of
	// their host names. The flag is -kafka-server-name.
	ServerName string
	// SASL is the authentication mechanism: plain, scram-sha-256, scram-sha-512 or
	// oauthbearer, in upper or lower case. The default is plain if User is set, and no
	// authentication if it is not. plain and oauthbearer need TLS. The flag is
	// -kafka-sasl.
	SASL string
	// User is the user to authenticate as. It is empty for oauthbearer, whose token names
	// the user. The flag is -kafka-user.
	User string
	// PasswordFile is a file with the password of User, or with the token of oauthbearer.
	// It is read again for every authentication, so the file may be replaced while the
	// program runs. The flag is -kafka-password-file.
	PasswordFile string
	// Password is the password or token itself. [LoadConfig] reads it from the environment
	// variable TRUNKLINE_KAFKA_PASSWORD. It is not used if PasswordFile is set.
	Password Secret
}

// Enabled reports whether any field is set.
func (k KafkaSecurity) Enabled() bool { return k != KafkaSecurity{} }

// ReadPassword returns the password or token: the content of PasswordFile without its
// final line breaks, or Password if PasswordFile is not set. It returns an error if the
// file cannot be read or is empty.
func (k KafkaSecurity) ReadPassword(context.Context) (string, error) {
	if k.PasswordFile == "" {
		return k.Password.Reveal(), nil
	}
	text, err := os.ReadFile(k.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("trunkline: read the Kafka password: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("trunkline: read the Kafka password: the file %s is empty", k.PasswordFile)
	}
	return password, nil
}

func (k *KafkaSecurity) registerFlags(fs *flag.FlagSet, prefix string) {
	fs.BoolVar(&k.TLS, "kafka-tls", k.TLS, "encrypt connections to Kafka and verify the brokers' certificates")
	fs.StringVar(&k.CAFile, "kafka-ca-file", k.CAFile, "PEM `file` with the certificates to trust instead of the system's")
	fs.StringVar(&k.CertFile, "kafka-cert-file", k.CertFile, "PEM `file` with this program's certificate")
	fs.StringVar(&k.KeyFile, "kafka-key-file", k.KeyFile, "PEM `file` with this program's private key")
	fs.StringVar(&k.ServerName, "kafka-server-name", k.ServerName, "`name` to expect in the brokers' certificates instead of their host names")
	fs.StringVar(&k.SASL, "kafka-sasl", k.SASL, "authentication `mechanism` for Kafka: plain, scram-sha-256, scram-sha-512 or oauthbearer; plain if there is a user")
	fs.StringVar(&k.User, "kafka-user", k.User, "`name` of the Kafka user; the password comes from "+passwordEnv(prefix)+" or -kafka-password-file")
	fs.StringVar(&k.PasswordFile, "kafka-password-file", k.PasswordFile, "`file` with the Kafka password or token")
}

// passwordEnv returns the name of the environment variable with the Kafka password.
func passwordEnv(prefix string) string { return prefix + "_KAFKA_PASSWORD" }

func (k KafkaSecurity) validate(prefix string) error {
	switch {
	case (k.CertFile == "") != (k.KeyFile == ""):
		return &ConfigError{Field: "Kafka.CertFile", Reason: "and Kafka.KeyFile need each other: set both -kafka-cert-file and -kafka-key-file, or neither"}
	case !k.TLS && (k.CAFile != "" || k.CertFile != "" || k.ServerName != ""):
		return &ConfigError{Field: "Kafka.TLS", Reason: "is off, but certificates or a server name are set: set -kafka-tls, or remove them"}
	}
	if err := k.validateLogin(prefix); err != nil {
		return err
	}
	for _, f := range []struct{ field, file string }{
		{"Kafka.CAFile", k.CAFile}, {"Kafka.CertFile", k.CertFile}, {"Kafka.KeyFile", k.KeyFile}, {"Kafka.PasswordFile", k.PasswordFile},
	} {
		if f.file == "" {
			continue
		}
		if err := readable(f.file); err != nil {
			return &ConfigError{Field: f.field, Reason: "names a file that cannot be read", Err: err}
		}
	}
	return nil
}

// mechanism returns the SASL mechanism in lower case, "" for no authentication.
func (k KafkaSecurity) mechanism() string {
	if k.SASL == "" && (k.User != "" || k.hasSecret()) {
		return "plain"
	}
	return strings.ToLower(k.SASL)
}

func (k KafkaSecurity) hasSecret() bool { return k.PasswordFile != "" || k.Password.IsSet() }

func (k KafkaSecurity) validateLogin(prefix string) error {
	mechanism := k.mechanism()
	switch mechanism {
	case "":
		return nil
	case "plain", "scram-sha-256", "scram-sha-512", "oauthbearer":
	default:
		return &ConfigError{Field: "Kafka.SASL", Reason: "is not a mechanism: set -kafka-sasl to plain, scram-sha-256, scram-sha-512 or oauthbearer"}
	}
	switch {
	case mechanism == "oauthbearer" && k.User != "":
		return &ConfigError{Field: "Kafka.User", Reason: "is set, but the token of oauthbearer names the user: remove -kafka-user"}
	case mechanism != "oauthbearer" && k.User == "":
		return &ConfigError{Field: "Kafka.User", Reason: "is missing: set -kafka-user"}
	case !k.hasSecret():
		return &ConfigError{Field: "Kafka.Password", Reason: "is missing: set the environment variable " + passwordEnv(prefix) + ", or -kafka-password-file"}
	case !k.TLS && !strings.HasPrefix(mechanism, "scram-"):
		return &ConfigError{Field: "Kafka.TLS", Reason: "is off, but " + mechanism + " sends the secret itself: set -kafka-tls"}
	}
	return nil
}

func readable(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		return errors.New("it is a directory")
	}
	return err
}
