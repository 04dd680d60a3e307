package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
)

// Secret gets a password or a token. It is called for every connection that is made
// and each time a broker wants to be convinced again, so a rotated secret is picked up
// without a restart. It is called from several goroutines, must end with its context,
// which lasts for Timeouts.Dial, and must not log what it returns. Its error goes into
// the transport's, so that must not hold the secret either.
type Secret func(ctx context.Context) (string, error)

// SecretFile returns a Secret that reads a file whenever it is asked, without the
// newlines at its end. It fails at once when the file can't be read or is empty.
func SecretFile(path string) (Secret, error) {
	s := Secret(func(context.Context) (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err // names the file
		}
		secret := strings.TrimRight(string(text), "\r\n")
		if secret == "" {
			return "", fmt.Errorf("the file %s is empty", path)
		}
		return secret, nil
	})
	return s, s.try()
}

// SecretEnv returns a Secret from an environment variable, whose name is in capitals.
// It fails at once when that is not set or empty.
func SecretEnv(name string) (Secret, error) {
	if !envName.MatchString(name) { // it may be the secret itself: don't repeat it
		return nil, invalid("the secret's environment variable has a name of other characters than A to Z, 0 to 9 and _")
	}
	s := Secret(func(context.Context) (string, error) {
		secret := os.Getenv(name)
		if secret == "" {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return secret, nil
	})
	return s, s.try()
}

var envName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// try is for secrets that are got without waiting.
func (s Secret) try() error {
	if _, err := s(context.Background()); err != nil {
		return invalidBecause("the secret can't be read", err)
	}
	return nil
}

// Token makes a Secret a [TokenSource] of tokens without extensions.
func (s Secret) Token(ctx context.Context) (Token, error) {
	value, err := s(ctx)
	return Token{Value: value}, err
}

// Token is what OAUTHBEARER authenticates with. However it is printed, logged or
// marshalled, its value is not shown.
type Token struct {
	// Value is the token as it is sent: for most issuers a signed JWT.
	Value string
	// Extensions are sent with it (KIP-342). They are no secret. Most brokers want none.
	Extensions map[string]string
}

// TokenSource gives a token that is good at this moment. It should keep one and get
// the next shortly before that expires: it is asked for every connection that is made
// and for every renewal. It is called as a [Secret] is.
//
// One of golang.org/x/oauth2 is made a TokenSource by
//
//	kafka.Secret(func(context.Context) (string, error) {
//		t, err := source.Token()
//		if err != nil {
//			return "", err
//		}
//		return t.AccessToken, nil
//	})
type TokenSource interface {
	Token(ctx context.Context) (Token, error)
}

const hidden = "[hidden]"

// String keeps the value out of texts.
func (t Token) String() string { return "kafka.Token{" + hidden + "}" }

// Format keeps the value out of every verb of package fmt.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprint(f, t.String()) }

// LogValue keeps the value out of logs.
func (t Token) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText keeps the value out of JSON and the like.
func (t Token) MarshalText() ([]byte, error) { return []byte(hidden), nil }
