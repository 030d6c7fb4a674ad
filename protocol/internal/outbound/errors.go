package outbound

import (
	"errors"
	"fmt"
	"io"

	"simpd/protocol"
)

// Errors to distinguish with errors.Is.
var (
	// ErrNoTLS means that the server does not offer TLS, or refused it.
	ErrNoTLS = errors.New("the server offers no TLS")
	// ErrProtocol means that the server violates the protocol.
	ErrProtocol = errors.New("the server does not speak SIMP/1.0")
)

// ProtocolError returns an ErrProtocol with the details.
func ProtocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// Refusal converts a final response other than 2xx to an error.
func Refusal(l *protocol.Line) *protocol.Error {
	text := l.Text
	if text == "" {
		text = "refused"
	}
	return &protocol.Error{Status: l.Status, Text: text, Retry: IntParam(l, "retry")}
}

// PlainText returns the error's text without the status of a refusal.
func PlainText(err error) string {
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return refused.Text
	}
	return err.Error()
}

// ReadError returns a read error as it is told to people.
func ReadError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the server closed the connection")
	}
	return err
}

// TargetError is an error of connecting to a target. Its text, for operators,
// names the target.
type TargetError struct {
	Target Target
	Err    error
}

func (e *TargetError) Error() string { return fmt.Sprintf("%s: %s", e.Target, e.Err) }

func (e *TargetError) Unwrap() error { return e.Err }

// LookupError is an error of a look-up in DNS. Its text, for operators, is all
// that the resolver says, which names the server asked.
type LookupError struct {
	What string // is looked up
	Err  error
}

func (e *LookupError) Error() string { return fmt.Sprintf("looking up %s: %s", e.What, e.Err) }

func (e *LookupError) Unwrap() error { return e.Err }
