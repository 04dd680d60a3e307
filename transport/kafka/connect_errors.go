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

// isRefused reports whether a broker or TLS rejects the credentials, so that the state is
// driver.Refused.
func isRefused(err error) bool {
	c := codeOf(err)
	return c == driver.CodeUnauthenticated || c == driver.CodePermissionDenied
}

// isTLSRejection reports whether one side of TLS rejected the other. An immediate retry does
// not help.
func isTLSRejection(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	return isTLSAlert(err)
}

// isTLSAlert reports whether the broker ended TLS with an alert. With TLS 1.3 a broker
// rejects a missing or wrong client certificate by an alert, and the client sees it at its
// first read. crypto/tls does not export the type of alerts, but marks them by the
// operation.
func isTLSAlert(err error) bool {
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

// explain adds a hint for the user to an error with which the broker or TLS has rejected the
// connection. It returns every other error unchanged.
func (o *options) explain(err error) error {
	if _, ok := errors.AsType[*driver.Error](err); ok || err == nil {
		return err
	}
	var reason string
	if o.login != nil {
		switch {
		case errors.Is(err, sarama.ErrSASLAuthenticationFailed):
			reason = fmt.Sprintf("%v: the broker rejected the login: check the user and the credential", o.login)
		case errors.Is(err, sarama.ErrUnsupportedSASLMechanism):
			reason = fmt.Sprintf("%v: the broker does not support this mechanism at this address", o.login)
		case errors.Is(err, sarama.ErrIllegalSASLState):
			reason = fmt.Sprintf("%v: the broker did not expect a login: use the address of a SASL listener", o.login)
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

func tlsReason(err error, source *tlsSource) string {
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the broker's certificate is for another name: set the server name, or connect to a name in the certificate"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the broker's certificate is not signed by a trusted CA: set the CA"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the broker's certificate is not valid"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the broker does not use TLS at this address"
	}
	if isTLSAlert(err) {
		if source != nil && !source.hasClientCert() {
			return "the broker rejected the TLS connection: it may require a client certificate"
		}
		return "the broker rejected the TLS connection or the client certificate"
	}
	return ""
}

// explainEarlyClose adds a hint to the error of a connection that a broker closed before its
// first answer. If only one of client and broker uses TLS, or if the broker expects a login
// that the client does not make, the broker closes the connection without an error message.
func (o *options) explainEarlyClose(err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == opHandshake {
		return failCode(driver.CodeUnavailable, "connect", "", "the broker closed the connection during the TLS handshake: it may not use TLS at this address", err)
	}
	var missing []string
	if o.tls == nil {
		missing = append(missing, "TLS")
	}
	if o.login == nil {
		missing = append(missing, "SASL")
	}
	reason := "the broker closed the connection at the first request: check that this is the address of a listener with TLS and SASL"
	if len(missing) > 0 {
		reason = fmt.Sprintf("the broker closed the connection at the first request: it may require %s", strings.Join(missing, " or "))
	}
	return failCode(driver.CodeUnavailable, "connect", "", reason, err)
}
