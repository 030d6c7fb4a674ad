package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
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
	switch {
	case errors.As(err, &unverified):
		return said{"its certificate is not accepted: " + strings.TrimPrefix(unverified.Err.Error(), "x509: "), err}
	case errors.As(err, new(tls.RecordHeaderError)):
		return said{"it does not speak TLS there", err}
	case errors.Is(err, io.EOF):
		return said{"it closed the connection when TLS was to begin", err}
	}
	return fmt.Errorf("TLS: %w", err)
}

// greetingError says why no greeting came.
func greetingError(err error) error {
	if errors.Is(err, io.EOF) {
		return said{"it closed the connection without a greeting", err}
	}
	return fmt.Errorf("waiting for the greeting: %w", err)
}
