package client

import (
	"errors"
	"fmt"

	"simpd/protocol"
)

// Errors to be told apart with errors.Is. A server's refusal is a
// *protocol.Error, to be found with errors.As.
var (
	// ErrClosed says that the Client was closed.
	ErrClosed = errors.New("the client is closed")
	// ErrLost says that the connection ended before the answer came.
	ErrLost = errors.New("the connection ended before the answer came")
	// ErrNotSent says that a request certainly did not reach the server.
	ErrNotSent = errors.New("not sent")
	// ErrNoTLS says that the server offers no TLS, or refused it.
	ErrNoTLS = errors.New("the server offers no TLS")
	// ErrProtocol says that the server does not speak SIMP as it should.
	ErrProtocol = errors.New("the server does not speak SIMP/1.0")
	// ErrNoAnswer, returned by OnMessage, leaves the message unanswered.
	ErrNoAnswer = errors.New("no answer")
)

func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// refusal makes the error of a final response that is no 2xx.
func refusal(l *protocol.Line) *protocol.Error {
	text := l.Text
	if text == "" {
		text = "refused"
	}
	return &protocol.Error{Status: l.Status, Text: text, Retry: intParam(l, "retry")}
}

// isFinal reports whether there is no use in connecting again: wrong
// credentials, or a server that will never do.
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

// forPeople says why, without the number of a refusal.
func forPeople(err error) string {
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return refused.Text
	}
	return err.Error()
}
