package kafka

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// CredentialSource returns a password or a token. The transport calls it for each new
// connection, and each time a broker requires a new login on an open connection. A rotated
// credential therefore takes effect without a restart.
//
// A CredentialSource must be safe for concurrent use and must return when ctx ends. ctx
// lasts for Timeouts.Dial. It must not log the credential, and its error must not contain
// the credential, because the transport includes the error in its own errors. A source of
// tokens should keep a token and replace it shortly before it expires.
//
// This makes a CredentialSource of a TokenSource from golang.org/x/oauth2:
//
//	func(context.Context) (string, error) {
//		t, err := source.Token()
//		if err != nil {
//			return "", err
//		}
//		return t.AccessToken, nil
//	}
type CredentialSource func(ctx context.Context) (string, error)

// CredentialFile returns a CredentialSource that reads the file each time, without the line
// breaks at its end. It returns an error if the file is empty or cannot be read now.
func CredentialFile(path string) (CredentialSource, error) {
	read := func(context.Context) (string, error) {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err // it contains the path
		}
		credential := strings.TrimRight(string(text), "\r\n")
		if credential == "" {
			return "", fmt.Errorf("file %s is empty", path)
		}
		return credential, nil
	}
	return tryCredential(read)
}

// CredentialEnv returns a CredentialSource that reads an environment variable each time.
// The name must consist of A to Z, 0 to 9 and '_'. CredentialEnv returns an error if the
// variable is empty or not set now.
func CredentialEnv(name string) (CredentialSource, error) {
	if !envName.MatchString(name) {
		// A user may have passed the credential instead of the name, so the error must not
		// contain it.
		return nil, invalid("name of the credential's environment variable must consist of A to Z, 0 to 9 and '_'")
	}
	read := func(context.Context) (string, error) {
		credential := os.Getenv(name)
		if credential == "" {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
		return credential, nil
	}
	return tryCredential(read)
}

var envName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

// tryCredential returns an error if the source, which must not block, fails now.
func tryCredential(source CredentialSource) (CredentialSource, error) {
	if _, err := source(context.Background()); err != nil {
		return nil, invalidBecause("cannot read the credential", err)
	}
	return source, nil
}
