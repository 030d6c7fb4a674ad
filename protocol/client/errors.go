package client

import (
	"errors"
	"fmt"

	"simpd/protocol"
)

// Errors to distinguish with errors.Is. A server's refusal is a
// *protocol.Error, to find with errors.As.
var (
	// ErrClosed means that the Client was closed.
	ErrClosed = errors.New("the client is closed")
	// ErrLost means that the connection ended before the response arrived.
	ErrLost = errors.New("the connection ended before the answer came")
	// ErrNotSent means that a request certainly did not reach the server.
	ErrNotSent = errors.New("not sent")
	// ErrNoTLS means that the server does not offer TLS, or refused it.
	ErrNoTLS = errors.New("the server offers no TLS")
	// ErrProtocol means that the server violates the protocol.
	ErrProtocol = errors.New("the server does not speak SIMP/1.0")
	// ErrNoAnswer, returned by OnMessage, leaves the message unanswered.
	ErrNoAnswer = errors.New("no answer")
)

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// refusal converts a final response other than 2xx to an error.
func refusal(l *protocol.Line) *protocol.Error {
	text := l.Text
	if text == "" {
		text = "refused"
	}
	return &protocol.Error{Status: l.Status, Text: text, Retry: intParam(l, "retry")}
}

// isFinal reports whether connecting again is useless: wrong credentials, or
// an unsuitable server.
func isFinal(err error) bool {
	var refused *protocol.Error
	if errors.As(err, &refused) {
		switch refused.Status {
		case protocol.StatusUnauthorized, protocol.StatusForbidden, protocol.StatusVersion:
			return true
		}
	}
	return errors.Is(err, ErrNoTLS) || errors.Is(err, errUnsafe)
}

// plainText returns the error's text without the status of a refusal.
func plainText(err error) string {
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return refused.Text
	}
	return err.Error()
}
