package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"github.com/trunkline/trunkline/bus/driver"
)

// WithSASLPlain makes connections authenticate with SASL/PLAIN. The client sends the
// password to the broker, so PLAIN needs TLS; see [WithInsecureSASL].
func WithSASLPlain(user string, password CredentialSource) Option {
	return withPassword(sarama.SASLTypePlaintext, user, password)
}

// WithSASLScramSHA256 makes connections authenticate with SASL/SCRAM-SHA-256. Each side
// proves that it has the password and neither sends it. SCRAM works without TLS, but an
// attacker on the network can then read and change records. An attacker that reads a login
// can also try passwords offline, so the password must be long.
func WithSASLScramSHA256(user string, password CredentialSource) Option {
	return withPassword(sarama.SASLTypeSCRAMSHA256, user, password)
}

// WithSASLScramSHA512 is like [WithSASLScramSHA256], with SCRAM-SHA-512.
func WithSASLScramSHA512(user string, password CredentialSource) Option {
	return withPassword(sarama.SASLTypeSCRAMSHA512, user, password)
}

func withPassword(mechanism sarama.SASLMechanism, user string, password CredentialSource) Option {
	return func(o *options) error {
		if user == "" || password == nil {
			return invalid("SASL/" + string(mechanism) + " needs a user and a password")
		}
		if strings.ContainsRune(user, 0) {
			return invalid("SASL/" + string(mechanism) + ": the user name must not contain a zero byte")
		}
		o.login = &saslLogin{mechanism: mechanism, user: user, credential: password, placeholder: rand.Text()}
		return nil
	}
}

// WithSASLOAuthBearer makes connections authenticate with SASL/OAUTHBEARER. The client
// sends a token, for most issuers a signed JWT, to the broker, so OAUTHBEARER needs TLS;
// see [WithInsecureSASL]. See [WithSASLExtensions] for extensions.
func WithSASLOAuthBearer(token CredentialSource) Option {
	return func(o *options) error {
		if token == nil {
			return invalid("SASL/OAUTHBEARER needs a source of tokens")
		}
		o.login = &saslLogin{mechanism: sarama.SASLTypeOAuth, credential: token}
		return nil
	}
}

// WithSASLExtensions sets the extensions that the client sends with each OAUTHBEARER token
// (KIP-342). Extensions are not secret. Most brokers need none. Other mechanisms ignore
// them.
func WithSASLExtensions(extensions map[string]string) Option {
	extensions = maps.Clone(extensions)
	return func(o *options) error {
		o.saslExtensions = extensions
		return nil
	}
}

// WithInsecureSASL allows PLAIN and OAUTHBEARER without TLS. Every program that can read
// the network traffic then sees the password or token, and so does every program that can
// answer at a broker's address. Use it for networks with other protection, and in tests.
func WithInsecureSASL() Option {
	return func(o *options) error {
		o.insecureSASL = true
		return nil
	}
}

// withSASL returns the option for the mechanism with this name.
func withSASL(mechanism, user string, credential CredentialSource) Option {
	switch m := strings.ToUpper(mechanism); m {
	case sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
		return withPassword(sarama.SASLMechanism(m), user, credential)
	case sarama.SASLTypeOAuth:
		if user == "" {
			return WithSASLOAuthBearer(credential)
		}
		return func(*options) error {
			return invalid("SASL/OAUTHBEARER takes no user name, because the token contains it")
		}
	default:
		return func(*options) error {
			return invalid("SASL mechanism must be plain, scram-sha-256, scram-sha-512 or oauthbearer")
		}
	}
}

// saslLogin authenticates connections. It is immutable.
//
// sarama takes a password once for the life of a client, and a client lives as long as its
// subscription. saslLogin instead asks for the credential each time sarama authenticates a
// connection, so that a rotated credential takes effect. sarama also authenticates again
// before the broker's session ends (KIP-368).
type saslLogin struct {
	mechanism  sarama.SASLMechanism
	user       string
	credential CredentialSource
	// placeholder is the password in sarama's configuration, which never contains the real
	// one. In a PLAIN login, insertPassword replaces it before the request is sent.
	placeholder string
}

// String returns the mechanism and the user.
func (l *saslLogin) String() string {
	s := "SASL/" + string(l.mechanism)
	if l.user != "" {
		s += fmt.Sprintf(" as %q", l.user)
	}
	return s
}

// sendsCredential reports whether the broker receives the password or token itself.
func (l *saslLogin) sendsCredential() bool {
	return l.mechanism == sarama.SASLTypePlaintext || l.mechanism == sarama.SASLTypeOAuth
}

// configure makes the client with configuration c and network n authenticate.
func (l *saslLogin) configure(c *sarama.Config, n *network, extensions map[string]string) {
	s := &c.Net.SASL
	s.Enable, s.Handshake, s.Version = true, true, sarama.SASLHandshakeV1
	s.Mechanism = l.mechanism
	s.User, s.Password, s.AuthIdentity, s.SCRAMAuthzID = l.user, l.placeholder, "", ""
	s.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{login: l, network: n} }
	s.TokenProvider = tokenProvider{l, n, extensions}
}

// password returns the password for one login of a connection of n.
func (l *saslLogin) password(n *network) (string, error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.dialTimeout)
	defer cancel()
	password, err := l.credential(ctx)
	switch {
	case err != nil:
		return "", l.failed("cannot get the password", err)
	case password == "":
		return "", l.failed("the password is empty", nil)
	case strings.ContainsRune(password, 0):
		return "", l.failed("the password contains a zero byte", nil)
	}
	return password, nil
}

// failed returns the error of a login that failed on the client's side.
func (l *saslLogin) failed(reason string, err error) error {
	return failCode(driver.CodeUnauthenticated, "connect", "", fmt.Sprintf("%v: %s", l, reason), err)
}

// scramClient does one SCRAM exchange.
type scramClient struct {
	login    *saslLogin
	network  *network
	exchange *scram.ClientConversation
}

// minIterations is Kafka's own minimum for stored credentials. A server that asks for
// fewer iterations makes it cheap to guess the password from the answer.
const minIterations = 4096

// Begin implements sarama.SCRAMClient. It ignores the password from sarama's
// configuration, which is a placeholder.
func (s *scramClient) Begin(user, _, authzID string) error {
	password, err := s.login.password(s.network)
	if err != nil {
		return err
	}
	hash := scram.SHA256
	if s.login.mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = scram.SHA512
	}
	// Kafka's brokers and tools use names and passwords unchanged, without SASLprep.
	c, err := hash.NewClientUnprepped(user, password, authzID)
	if err != nil {
		return s.login.failed("cannot begin the SCRAM exchange", err)
	}
	s.exchange = c.WithMinIterations(minIterations).NewConversation()
	return nil
}

// Step implements sarama.SCRAMClient. It returns an error if the broker does not prove
// that it has the password.
func (s *scramClient) Step(challenge string) (string, error) {
	response, err := s.exchange.Step(challenge)
	if err != nil {
		return "", s.login.failed("the broker's part of the SCRAM exchange is not valid", err)
	}
	return response, nil
}

// Done implements sarama.SCRAMClient.
func (s *scramClient) Done() bool { return s.exchange.Done() }

// tokenProvider implements sarama.AccessTokenProvider.
type tokenProvider struct {
	login      *saslLogin
	network    *network
	extensions map[string]string
}

func (p tokenProvider) Token() (*sarama.AccessToken, error) {
	ctx, cancel := context.WithTimeout(p.network.ctx, p.network.dialTimeout)
	defer cancel()
	token, err := p.login.credential(ctx)
	switch {
	case err != nil:
		return nil, p.login.failed("cannot get the token", err)
	case token == "":
		return nil, p.login.failed("the token is empty", nil)
	case strings.ContainsAny(token, "\x00\x01"):
		return nil, p.login.failed("the token contains a control character", nil)
	}
	return &sarama.AccessToken{Token: token, Extensions: maps.Clone(p.extensions)}, nil
}

const (
	apiSASLAuthenticate = 36
	// flexibleSASLAuthenticate is the first version of the request that encodes lengths as
	// varints.
	flexibleSASLAuthenticate = 2
	requestHeaderSize        = 4 + 2 + 2 // size, API key, API version
)

// insertPassword replaces the placeholder in a PLAIN login by the password. request is a
// whole request as sarama writes it. insertPassword returns every other request unchanged.
func (l *saslLogin) insertPassword(request []byte, n *network) ([]byte, error) {
	if l.mechanism != sarama.SASLTypePlaintext || len(request) < requestHeaderSize ||
		binary.BigEndian.Uint16(request[4:]) != apiSASLAuthenticate {
		return request, nil
	}
	password, err := l.password(n)
	if err != nil {
		return nil, err
	}
	placeholder := []byte("\x00" + l.user + "\x00" + l.placeholder)
	real := []byte("\x00" + l.user + "\x00" + password)
	length := func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, uint32(len(b))) }
	if binary.BigEndian.Uint16(request[6:]) >= flexibleSASLAuthenticate {
		length = func(b []byte) []byte { return binary.AppendUvarint(nil, uint64(len(b))+1) }
	}
	before, after, found := bytes.Cut(request[4:], append(length(placeholder), placeholder...))
	size := len(before) + len(real) + len(after) + binary.MaxVarintLen64
	if !found || size > math.MaxInt32 {
		return nil, l.failed("the login request has an unknown format", nil)
	}
	out := make([]byte, 4, 4+size)
	out = append(out, before...)
	out = append(out, length(real)...)
	out = append(out, real...)
	out = append(out, after...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}
