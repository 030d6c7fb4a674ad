package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"simpd/protocol"
)

// describedError is an error with a text for people, and its cause.
type describedError struct {
	text string
	err  error
}

func (e describedError) Error() string { return e.text }
func (e describedError) Unwrap() error { return e.err }

// timeoutError returns an error with text if ctx's deadline has passed, and
// ctx's error if it was canceled.
func timeoutError(ctx context.Context, words string) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return describedError{words, context.DeadlineExceeded}
}

// handshakeError explains why the TLS handshake failed.
func handshakeError(err error) error {
	var unverified *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unverified):
		return describedError{"its certificate is not accepted: " + strings.TrimPrefix(unverified.Err.Error(), "x509: "), err}
	case errors.As(err, &record):
		return describedError{"it does not speak TLS there, but " + describeProtocol(record.RecordHeader[:]), fmt.Errorf("%w: %w", ErrProtocol, err)}
	case isClosed(err):
		return describedError{"it closed the connection when TLS was to begin", err}
	case errors.Is(err, context.DeadlineExceeded):
		return describedError{"it did not finish the TLS handshake in time", err}
	}
	return fmt.Errorf("TLS: %w", err)
}

// isClosed reports whether the other end has closed the connection, however it
// was noticed: by a read, by a write, or by a reset.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// greetingError explains why no greeting arrived.
func greetingError(err error) error {
	if isClosed(err) {
		return describedError{"it closed the connection without a greeting", err}
	}
	return fmt.Errorf("waiting for the greeting: %w", err)
}

// foreignProtocols are the protocols that may be found instead of SIMP, by
// the first octets of their servers.
var foreignProtocols = []struct{ prefix, name string }{
	{"* HELLO", "SIMP"}, {"* BYE", "SIMP"}, {"* HEL", "SIMP"}, {"SSH-", "SSH"}, {"HTTP/", "HTTP"}, {"HTTP", "HTTP"}, {"<!DOCTYPE", "HTTP"}, {"<html", "HTTP"}, {"* OK", "IMAP"}, {"+OK", "POP3"}, {"<?xml", "XMPP"}, {"<stream", "XMPP"},
	{"220", "SMTP or FTP"}, {"554", "SMTP"}, {"421", "SMTP or FTP"}, {"\x15\x03", "TLS"}, {"\x16\x03", "TLS"}, {"RFB ", "VNC"}, {"@RSYNCD:", "rsync"}, {":", "IRC"},
}

// describeProtocol names the protocol that begins with first, if it is known,
// and shows the octets.
func describeProtocol(first []byte) string {
	line, _, _ := strings.Cut(string(first), "\n")
	shown := strings.ToValidUTF8(truncate(strings.TrimRight(line, "\r\x00"), maxShownOctets), "\uFFFD")
	for _, p := range foreignProtocols {
		if strings.HasPrefix(string(first), p.prefix) {
			if p.name == "TLS" {
				return p.name // whose octets tell nobody anything
			}
			return fmt.Sprintf("%s (it says %s)", p.name, protocol.Quote(shown))
		}
	}
	if shown == "" {
		return "something else that is not text"
	}
	return fmt.Sprintf("something else (it says %s)", protocol.Quote(shown))
}

// maxShownOctets limits how much of an invalid greeting is shown.
const maxShownOctets = 60

// SanitizeText copies a text of the other side, limited to the length that
// this side may send.
func SanitizeText(s string) string {
	return strings.ToValidUTF8(strings.Clone(truncate(s, protocol.MaxText)), "")
}

// truncate returns at most n octets of s.
func truncate(s string, n int) string { return s[:min(len(s), n)] }
