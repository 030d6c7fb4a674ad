package server

import (
	"context"
	"errors"

	"simpd/protocol"
)

// toError converts an error to the response for the client. Internal errors
// are logged and not disclosed.
func (s *Server) toError(err error) *protocol.Error {
	var e *protocol.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return protocol.Errorf(protocol.StatusUnavailable, "the site did not confirm it in time; try again, or another node")
	}
	s.config.Logger.Error("a request failed", "error", err)
	return protocol.Errorf(protocol.StatusServerError, "internal server error")
}

// commonText explains the status that all recipients of a SEND have, if nobody
// has given a better text.
func commonText(s protocol.Status) string {
	switch s {
	case protocol.StatusOK:
		return "delivered"
	case protocol.StatusMixed:
		return "see each recipient"
	case protocol.StatusUnknownAddress:
		return "no such user"
	case protocol.StatusSlowDown:
		return "too many recipients that are new to you"
	}
	return s.ExplainOutcome("the recipient")
}
