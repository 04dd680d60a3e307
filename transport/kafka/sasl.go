package kafka

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	"github.com/trunkline/trunkline/bus/driver"
)

// WithSASLPlain makes connections authenticate with SASL/PLAIN, which hands the
// password itself to the broker. It needs TLS; see [WithInsecureSASL].
func WithSASLPlain(user string, password Secret) Option {
	return withPassword(sarama.SASLTypePlaintext, user, password)
}

// WithSASLScramSHA256 makes connections authenticate with SASL/SCRAM-SHA-256. Each
// side proves that it knows the password and neither sends it, so it may go without
// TLS where nobody needs to be kept from reading or changing the records. Who can read
// a login can still try passwords on it at leisure: then the password must be long.
func WithSASLScramSHA256(user string, password Secret) Option {
	return withPassword(sarama.SASLTypeSCRAMSHA256, user, password)
}

// WithSASLScramSHA512 is WithSASLScramSHA256 with SCRAM-SHA-512.
func WithSASLScramSHA512(user string, password Secret) Option {
	return withPassword(sarama.SASLTypeSCRAMSHA512, user, password)
}

func withPassword(mechanism sarama.SASLMechanism, user string, password Secret) Option {
	return func(o *options) error {
		if user == "" || password == nil {
			return invalid("SASL/" + string(mechanism) + " needs a user and a password")
		}
		if strings.ContainsRune(user, 0) {
			return invalid("the user's name holds a zero byte")
		}
		o.login = &login{mechanism: mechanism, user: user, password: password, stand: rand.Text()}
		return nil
	}
}

// WithSASLOAuthBearer makes connections authenticate with SASL/OAUTHBEARER, which hands
// a token to the broker. It needs TLS; see [WithInsecureSASL].
func WithSASLOAuthBearer(tokens TokenSource) Option {
	return func(o *options) error {
		if s, ok := tokens.(Secret); tokens == nil || ok && s == nil {
			return invalid("SASL/OAUTHBEARER needs a source of tokens")
		}
		o.login = &login{mechanism: sarama.SASLTypeOAuth, tokens: tokens}
		return nil
	}
}

// WithInsecureSASL lets PLAIN and OAUTHBEARER do without TLS. Everybody who can read
// the network then has the password or token, and whoever can answer in a broker's
// place is given it. It is for networks that are secured otherwise, and for tests.
func WithInsecureSASL() Option {
	return func(o *options) error {
		o.insecureSASL = true
		return nil
	}
}

// withSASL is the option for a mechanism by its name, PLAIN when that is empty.
func withSASL(mechanism, user string, secret Secret) Option {
	switch m := strings.ToUpper(mechanism); m {
	case "":
		return WithSASLPlain(user, secret)
	case sarama.SASLTypePlaintext, sarama.SASLTypeSCRAMSHA256, sarama.SASLTypeSCRAMSHA512:
		return withPassword(sarama.SASLMechanism(m), user, secret)
	case sarama.SASLTypeOAuth:
		if user == "" {
			return WithSASLOAuthBearer(secret)
		}
		return func(*options) error { return invalid("SASL/OAUTHBEARER takes no user, the token says who it is") }
	default:
		return func(*options) error {
			return invalid("the SASL mechanism is none of plain, scram-sha-256, scram-sha-512 and oauthbearer")
		}
	}
}

// login is how connections authenticate. It is immutable. sarama takes a password once
// for a client's life, and a client lives for as long as a subscription does; here the
// secret is asked for whenever sarama logs a connection in, which it does again before
// the broker's session ends (KIP-368), so that a rotated one is picked up.
type login struct {
	mechanism sarama.SASLMechanism
	user      string
	password  Secret
	tokens    TokenSource
	// stand is what sarama takes for the password: it never sees the real one. In a
	// PLAIN login it is replaced on its way to the broker.
	stand string
}

// String says what a login is, for an error.
func (l *login) String() string {
	s := "SASL/" + string(l.mechanism)
	if l.user != "" {
		s += fmt.Sprintf(" as %q", l.user)
	}
	return s
}

// sendsSecret says that the broker is given the secret itself.
func (l *login) sendsSecret() bool {
	return l.mechanism == sarama.SASLTypePlaintext || l.mechanism == sarama.SASLTypeOAuth
}

// configure makes the client of c, which is on n, log in.
func (l *login) configure(c *sarama.Config, n *network) {
	s := &c.Net.SASL
	s.Enable, s.Handshake, s.Version = true, true, sarama.SASLHandshakeV1
	s.Mechanism = l.mechanism
	s.User, s.Password, s.AuthIdentity, s.SCRAMAuthzID = l.user, l.stand, "", ""
	s.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramLogin{login: l, network: n} }
	s.TokenProvider = bearerLogin{l, n}
}

// secret gets the password for one login of a connection of n.
func (l *login) secret(n *network) (string, error) {
	ctx, cancel := context.WithTimeout(n.ctx, n.dialTimeout)
	defer cancel()
	password, err := l.password(ctx)
	switch {
	case err != nil:
		return "", l.failed("the password could not be had", err)
	case password == "":
		return "", l.failed("the password is empty", nil)
	case strings.ContainsRune(password, 0):
		return "", l.failed("the password holds a zero byte", nil)
	}
	return password, nil
}

// failed is the error of a login that failed on this side.
func (l *login) failed(reason string, err error) error {
	return failCode(driver.CodeUnauthenticated, "connect", "", fmt.Sprintf("%v: %s", l, reason), err)
}

// scramLogin is one SCRAM exchange: what sarama calls a SCRAM client.
type scramLogin struct {
	login    *login
	network  *network
	exchange *scram.ClientConversation
}

// leastIterations is the least that Kafka stores credentials with. A server that asks
// for fewer is after an answer that is cheap to guess passwords from.
const leastIterations = 4096

// Begin implements sarama.SCRAMClient. The password is not the one that sarama has.
func (s *scramLogin) Begin(user, _, authzID string) error {
	password, err := s.login.secret(s.network)
	if err != nil {
		return err
	}
	hash := scram.SHA256
	if s.login.mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = scram.SHA512
	}
	// Kafka's brokers and tools take names and passwords as they are, without SASLprep.
	c, err := hash.NewClientUnprepped(user, password, authzID)
	if err != nil {
		return s.login.failed("the exchange could not begin", err)
	}
	s.exchange = c.WithMinIterations(leastIterations).NewConversation()
	return nil
}

// Step implements sarama.SCRAMClient. It fails when the broker doesn't prove that it
// knows the password.
func (s *scramLogin) Step(challenge string) (string, error) {
	answer, err := s.exchange.Step(challenge)
	if err != nil {
		return "", s.login.failed("the broker's part of the exchange is not valid", err)
	}
	return answer, nil
}

// Done implements sarama.SCRAMClient.
func (s *scramLogin) Done() bool { return s.exchange.Done() }

// bearerLogin gives sarama tokens.
type bearerLogin struct {
	login   *login
	network *network
}

// Token implements sarama.AccessTokenProvider.
func (b bearerLogin) Token() (*sarama.AccessToken, error) {
	ctx, cancel := context.WithTimeout(b.network.ctx, b.network.dialTimeout)
	defer cancel()
	t, err := b.login.tokens.Token(ctx)
	switch {
	case err != nil:
		return nil, b.login.failed("the token could not be had", err)
	case t.Value == "":
		return nil, b.login.failed("the token is empty", nil)
	case strings.ContainsAny(t.Value, "\x00\x01"):
		return nil, b.login.failed("the token holds a control character", nil)
	}
	return &sarama.AccessToken{Token: t.Value, Extensions: t.Extensions}, nil
}

const (
	apiSASLAuthenticate = 36
	// flexibleSASLAuthenticate is the first version whose lengths are variable.
	flexibleSASLAuthenticate = 2
	plainFrameHeader         = 4 + 2 + 2 // size, API key, API version
)

// substitute puts the real password into a PLAIN login on its way to the broker. frame
// is a whole request, as sarama writes it; any other is returned as it is.
func (l *login) substitute(frame []byte, n *network) ([]byte, error) {
	if l.mechanism != sarama.SASLTypePlaintext || len(frame) < plainFrameHeader ||
		binary.BigEndian.Uint16(frame[4:]) != apiSASLAuthenticate {
		return frame, nil
	}
	password, err := l.secret(n)
	if err != nil {
		return nil, err
	}
	stand := []byte("\x00" + l.user + "\x00" + l.stand)
	own := []byte("\x00" + l.user + "\x00" + password)
	length := func(b []byte) []byte { return binary.BigEndian.AppendUint32(nil, uint32(len(b))) }
	if binary.BigEndian.Uint16(frame[6:]) >= flexibleSASLAuthenticate {
		length = func(b []byte) []byte { return binary.AppendUvarint(nil, uint64(len(b))+1) }
	}
	before, after, found := bytes.Cut(frame[4:], append(length(stand), stand...))
	size := len(before) + len(own) + len(after) + binary.MaxVarintLen64
	if !found || size > math.MaxInt32 {
		return nil, l.failed("the login has an unknown form", nil)
	}
	out := make([]byte, 4, 4+size)
	out = append(out, before...)
	out = append(out, length(own)...)
	out = append(out, own...)
	out = append(out, after...)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}
