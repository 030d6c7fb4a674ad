package api

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"simpd/protocol"
	"simpd/store"
)

// errorDomain is the domain of the ErrorInfo details.
const errorDomain = "simp.v1"

// refused is a change that the table did not take.
type refused struct {
	refusal store.Refusal
	text    string
}

func (r *refused) Error() string { return r.text }

// errorMap turns what the site's insides say into what programs are told.
// This is the one place where it is done.
type errorMap struct {
	uncertain func(error) bool
	notDone   func(error) bool
	refusals  *refusals
}

func (m errorMap) status(err error) error {
	var wire *protocol.Error
	var no *refused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return detailed(refusalCode(no.refusal), no.text, reason(no.refusal.String()))
	case errors.As(err, &wire):
		return wireStatus(wire)
	case m.uncertain != nil && m.uncertain(err):
		return detailed(codes.Unknown, "what became of it is not known: it may have been done, or may yet be; look, and repeat it if not", reason("OUTCOME_UNKNOWN"))
	case m.notDone != nil && m.notDone(err): // also where it was the caller's time that ended
		return m.other(err)
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "it took too long; it may have been done, or may yet be")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller went away")
	}
	return m.other(err)
}

// other is for statuses, and for errors of the site that have no meaning of
// their own here.
func (m errorMap) other(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if m.refusals.note(cause{"not served", limitText(err.Error())}) {
		m.refusals.logger.Warn("a call was not served", "error", err)
	}
	return detailed(codes.Unavailable, err.Error(), reason("UNAVAILABLE"))
}

// refusalCode gives each of the table's refusals its code.
func refusalCode(r store.Refusal) codes.Code {
	switch r {
	case store.NoAccount:
		return codes.NotFound
	case store.Exists:
		return codes.AlreadyExists
	case store.TooManyRules, store.TooManyContacts, store.TooManySessions:
		return codes.ResourceExhausted
	}
	return codes.FailedPrecondition
}

// wireStatus gives SIMP's statuses their codes.
func wireStatus(e *protocol.Error) error {
	switch e.Status {
	case protocol.StatusBadRequest, protocol.StatusTooLarge:
		return status.Error(codes.InvalidArgument, e.Text)
	case protocol.StatusUnauthorized, protocol.StatusForbidden:
		return status.Error(codes.PermissionDenied, e.Text)
	case protocol.StatusUnknownAddress:
		return status.Error(codes.NotFound, e.Text)
	case protocol.StatusWrongState:
		return status.Error(codes.FailedPrecondition, e.Text)
	case protocol.StatusSlowDown:
		retry := durationpb.New(time.Duration(e.Retry) * time.Second)
		return detailed(codes.ResourceExhausted, e.Text, &errdetails.RetryInfo{RetryDelay: retry})
	case protocol.StatusUnavailable:
		return detailed(codes.Unavailable, e.Text, reason("UNAVAILABLE"))
	}
	return status.Error(codes.Internal, e.Text)
}

// unavailable says that this node can't serve the call now.
func unavailable(why, text string) error {
	return detailed(codes.Unavailable, text, reason(why))
}

// reason names a cause so that programs can tell it.
func reason(name string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: screaming(name), Domain: errorDomain}
}

// screaming writes a name as an ErrorInfo has it: NO_ACCOUNT.
func screaming(name string) string {
	out := make([]rune, 0, len(name))
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z':
			r -= 'a' - 'A'
		case r == ' ' || r == '-':
			r = '_'
		}
		out = append(out, r)
	}
	return string(out)
}

// detailed is a status with a detail.
func detailed(c codes.Code, text string, detail protoadapt.MessageV1) error {
	s, err := status.New(c, text).WithDetails(detail)
	if err != nil {
		return status.Error(c, text)
	}
	return s.Err()
}
