package client

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

// said is an error in words for people, with the one behind it.
type said struct {
	words string
	err   error
}

func (e said) Error() string { return e.words }
func (e said) Unwrap() error { return e.err }

// inTime says what did not come about before ctx ended, unless it was cancelled.
func inTime(ctx context.Context, words string) error {
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return said{words, context.DeadlineExceeded}
}

// handshakeError says why TLS did not begin.
func handshakeError(err error) error {
	var unverified *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unverified):
		return said{"its certificate is not accepted: " + strings.TrimPrefix(unverified.Err.Error(), "x509: "), err}
	case errors.As(err, &record):
		return said{"it does not speak TLS there, but " + spokenBy(record.RecordHeader[:]), fmt.Errorf("%w: %w", ErrProtocol, err)}
	case errors.Is(err, io.EOF):
		return said{"it closed the connection when TLS was to begin", err}
	case errors.Is(err, context.DeadlineExceeded):
		return said{"it did not finish the TLS handshake in time", err}
	}
	return fmt.Errorf("TLS: %w", err)
}

// greetingError says why no greeting came.
func greetingError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return said{"it closed the connection without a greeting", err}
	}
	return fmt.Errorf("waiting for the greeting: %w", err)
}

// protocols are what else may be found where SIMP was expected, by what their
// servers say first.
var protocols = []struct{ prefix, name string }{
	{"* HELLO", "SIMP"}, {"* BYE", "SIMP"}, {"* HEL", "SIMP"}, {"SSH-", "SSH"}, {"HTTP/", "HTTP"}, {"HTTP", "HTTP"}, {"<!DOCTYPE", "HTTP"}, {"<html", "HTTP"}, {"* OK", "IMAP"}, {"+OK", "POP3"}, {"<?xml", "XMPP"}, {"<stream", "XMPP"},
	{"220", "SMTP or FTP"}, {"554", "SMTP"}, {"421", "SMTP or FTP"}, {"\x15\x03", "TLS"}, {"\x16\x03", "TLS"}, {"RFB ", "VNC"}, {"@RSYNCD:", "rsync"}, {":", "IRC"},
}

// spokenBy says what protocol begins so, if that is known, and shows it.
func spokenBy(first []byte) string {
	line, _, _ := strings.Cut(string(first), "\n")
	shown := strings.ToValidUTF8(cut(strings.TrimRight(line, "\r\x00"), maxShown), "\uFFFD")
	for _, p := range protocols {
		if strings.HasPrefix(string(first), p.prefix) {
			if p.name == "TLS" {
				return p.name // whose octets tell nobody anything
			}
			return fmt.Sprintf("%s (it says %s)", p.name, protocol.Quote(shown))
		}
	}
	return fmt.Sprintf("something else (it says %s)", protocol.Quote(shown))
}

// maxShown is how much of what is no greeting is shown, in octets.
const maxShown = 60

// short returns a text of the other side's to be kept, as long as one of this
// side's may be.
func short(s string) string {
	return strings.ToValidUTF8(strings.Clone(cut(s, protocol.MaxText)), "")
}

// cut returns at most n octets of s.
func cut(s string, n int) string { return s[:min(len(s), n)] }
