package client

import (
	"context"
	"errors"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
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
	ErrNoTLS = outbound.ErrNoTLS
	// ErrProtocol means that the server violates the protocol.
	ErrProtocol = outbound.ErrProtocol
	// ErrNoAnswer, returned by OnMessage, leaves the message unanswered.
	ErrNoAnswer = errors.New("no answer")
)

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
	return errors.Is(err, outbound.ErrNoTLS) || errors.Is(err, errUnsafe)
}

// noAnswerError means that the server has left a request unanswered.
type noAnswerError struct{ verb string }

func (e *noAnswerError) Error() string { return "the server did not answer " + e.verb + " in time" }

func (e *noAnswerError) Unwrap() error { return context.DeadlineExceeded }

// errUnsafe means that something would have been said in clear to another
// machine.
var errUnsafe = errors.New("it is not safe")
