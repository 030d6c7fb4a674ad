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
	return protocol.Errorf(protocol.StatusServerError, "a fault in the server")
}

// statusText explains a status to a person if nobody has given a better text.
func statusText(s protocol.Status) string {
	if text, ok := statusTexts[s]; ok {
		return text
	}
	return "the message was not delivered"
}

var statusTexts = map[protocol.Status]string{
	protocol.StatusOK:             "delivered",
	protocol.StatusIndeterminate:  "handed over, but no answer came",
	protocol.StatusMixed:          "see each recipient",
	protocol.StatusUnknownAddress: "no such user",
	protocol.StatusWrongState:     "the id was used for another message",
	protocol.StatusSlowDown:       "too many recipients that are new to you",
	protocol.StatusNotListening:   "not listening",
	protocol.StatusNotReading:     "the recipient's client does not take what it is sent",
	protocol.StatusRefused:        "the recipient's client refused the message",
	protocol.StatusUnavailable:    "not handed over; try again, or another node",
}
