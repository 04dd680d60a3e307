package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// isUntrusted says that TLS came to a verdict: trying again at once won't help.
func isUntrusted(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	return isAlert(err)
}

// isAlert says that the broker ended TLS with an alert. With TLS 1.3 that is how it says
// that it wants a certificate, or another one, and the first read is what finds out. The
// type of alerts is not exported; crypto/tls marks them by the operation.
func isAlert(err error) bool {
	for {
		op, ok := errors.AsType[*net.OpError](err)
		if !ok {
			return false
		}
		if op.Op == "remote error" {
			return true
		}
		err = op.Err
	}
}

// explain makes a verdict on who one is, or what a broker is, into an error that says
// what to do about it. Any other error is returned as it is.
func (o *options) explain(err error) error {
	if _, ok := errors.AsType[*driver.Error](err); ok || err == nil {
		return err
	}
	var reason string
	if o.login != nil {
		switch {
		case errors.Is(err, sarama.ErrSASLAuthenticationFailed):
			reason = fmt.Sprintf("%v: the broker refused the login", o.login)
		case errors.Is(err, sarama.ErrUnsupportedSASLMechanism):
			reason = fmt.Sprintf("%v: the broker does not take this mechanism at this address", o.login)
		case errors.Is(err, sarama.ErrIllegalSASLState):
			reason = fmt.Sprintf("%v: the broker expected no login, is this the address of a SASL listener?", o.login)
		}
	}
	if reason == "" {
		reason = tlsReason(err, o.tls)
	}
	if reason == "" {
		return err
	}
	return failCode(codeOf(err), "connect", "", reason, err)
}

func tlsReason(err error, e *encryption) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the broker's certificate is for another name: set the server name, or connect by a name that it is for"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the broker's certificate is not signed by a CA that is trusted here: set the CA"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the broker's certificate is not valid"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the broker does not speak TLS at this address"
	}
	if isAlert(err) {
		if e != nil && !e.shows() {
			return "the broker refused TLS, as one does that wants a certificate to be shown to it"
		}
		return "the broker refused TLS, or the certificate that was shown to it"
	}
	return ""
}

// hungUp explains a connection that a broker ended in the place of its first answer,
// which is all that one says that expects TLS, or none, or a login.
func (o *options) hungUp(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == opHandshake {
		return failCode(driver.CodeUnavailable, "connect", "", "the broker hung up in the TLS handshake, as one does that speaks no TLS at this address", err)
	}
	var missing []string
	if o.tls == nil {
		missing = append(missing, "TLS")
	}
	if o.login == nil {
		missing = append(missing, "SASL")
	}
	reason := "the broker hung up on the first request: is this the address of a listener for TLS and SASL?"
	if len(missing) > 0 {
		reason = fmt.Sprintf("the broker hung up on the first request, as one does that expects %s", strings.Join(missing, " or "))
	}
	return failCode(driver.CodeUnavailable, "connect", "", reason, err)
}

// oneLine is an error whose text has no line breaks: sarama joins what several brokers
// said.
type oneLine struct{ error }

func (e oneLine) Error() string {
	return strings.Join(strings.FieldsFunc(e.error.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

func (e oneLine) Unwrap() error { return e.error }

// onOneLine wraps an error that needs it.
func onOneLine(err error) error {
	if err == nil || !strings.ContainsAny(err.Error(), "\r\n") {
		return err
	}
	return oneLine{err}
}
