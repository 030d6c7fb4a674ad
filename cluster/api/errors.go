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

// refused is a change that the table did not take.
type refused struct {
	refusal store.Refusal
	text    string
}

func (r *refused) Error() string { return r.text }

// errorMap turns what the site's insides say into what programs are told.
// This is the one place where it is done.
type errorMap struct {
	cutOff   func() bool // whether this node is out of touch with the majority
	refusals *refusals
}

// publicStatus returns err as a caller of m is told it.
func (e errorMap) publicStatus(m method, err error) error {
	var wire *protocol.Error
	var no *refused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		r := reasonOf(no.refusal)
		return statusWithDetails(reasonCodes[r][0], no.text, r.errorInfo())
	case errors.As(err, &wire):
		return wireStatus(wire)
	case errors.Is(err, store.ErrUnknown):
		return statusWithDetails(codes.Unknown, "what became of it is not known: it may have been done, or may yet be; look, and repeat it if not", reasonOutcomeUnknown.errorInfo())
	case errors.Is(err, store.ErrUnavailable): // also where it was the caller's time that ended
		return e.notDoneStatus(err)
	case errors.Is(err, context.DeadlineExceeded):
		return timedOut(m, "it took too long")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller went away")
	}
	return e.fallbackStatus(err)
}

// notDoneStatus is for what was certainly not done.
func (e errorMap) notDoneStatus(err error) error {
	if e.cutOff != nil && e.cutOff() {
		return errCutOff
	}
	return e.fallbackStatus(err)
}

// fallbackStatus is for statuses, and for errors of the site that have no meaning of
// their own here.
func (e errorMap) fallbackStatus(err error) error {
	if s, ok := status.FromError(err); ok {
		return withReason(s)
	}
	if e.refusals.countRefusal(cause{"not served", limitText(err.Error())}) {
		e.refusals.logger.Warn("a call was not served", "error", err)
	}
	return unavailable(reasonUnavailable, err.Error())
}

// withReason gives a status a detail that has none, as gRPC's own have.
func withReason(s *status.Status) error {
	if len(s.Details()) > 0 {
		return s.Err()
	}
	if s.Code() == codes.InvalidArgument {
		return invalidArgument(s.Message())
	}
	if r, ok := codeReasons[s.Code()]; ok {
		return statusWithDetails(s.Code(), s.Message(), r.errorInfo())
	}
	return s.Err()
}

// invalidArgument refuses a request in which no one field is to blame.
func invalidArgument(text string) error {
	f := &fields{}
	f.addViolation("request", "%s", text)
	return f.err()
}

// timedOut tells a caller of m that the time is over.
func timedOut(m method, text string) error {
	if m.changes {
		return statusWithDetails(codes.DeadlineExceeded, text+"; it may have been done, or may yet be: look, and repeat it if not", reasonOutcomeUnknown.errorInfo())
	}
	return statusWithDetails(codes.DeadlineExceeded, text, reasonTimedOut.errorInfo())
}

// wireStatus gives SIMP's statuses their codes.
func wireStatus(e *protocol.Error) error {
	switch e.Status {
	case protocol.StatusBadRequest, protocol.StatusTooLarge:
		return invalidArgument(e.Text)
	case protocol.StatusUnauthorized, protocol.StatusForbidden:
		return statusWithDetails(codes.PermissionDenied, e.Text, reasonNoRole.errorInfo())
	case protocol.StatusUnknownAddress:
		return statusWithDetails(codes.NotFound, e.Text, reasonNoNode.errorInfo())
	case protocol.StatusWrongState:
		return statusWithDetails(codes.FailedPrecondition, e.Text, reasonRefused.errorInfo())
	case protocol.StatusSlowDown:
		return resourceExhausted(e.Text, time.Duration(e.Retry)*time.Second)
	case protocol.StatusUnavailable:
		return unavailable(reasonUnavailable, e.Text)
	}
	return statusWithDetails(codes.Internal, e.Text, reasonFault.errorInfo())
}

// unavailable says that this node can't serve the call now.
func unavailable(why reason, text string) error {
	return statusWithDetails(codes.Unavailable, text, why.errorInfo())
}

// resourceExhausted refuses what is above a limit, and says when to try again.
func resourceExhausted(text string, after time.Duration) error {
	return statusWithDetails(codes.ResourceExhausted, text, reasonOverLimit.errorInfo(), &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

// statusWithDetails is a status with details.
func statusWithDetails(c codes.Code, text string, details ...protoadapt.MessageV1) error {
	s, err := status.New(c, text).WithDetails(details...)
	if err != nil {
		return status.Error(c, text)
	}
	return s.Err()
}

// partlyDone returns err as the end of a call of which a part was done. What may be
// tried again as it is must not be taken for not done.
func partlyDone(err error, done string) error {
	s := status.Convert(err)
	info := reasonPartlyDone.errorInfo()
	info.Metadata = map[string]string{"done": done}
	details := []protoadapt.MessageV1{info}
	for _, d := range s.Details() {
		if of, ok := d.(*errdetails.ErrorInfo); ok {
			info.Metadata["cause"] = of.Reason
		} else if m, ok := d.(protoadapt.MessageV1); ok {
			details = append(details, m)
		}
	}
	code := s.Code()
	if code == codes.Unavailable || code == codes.Unknown {
		code = codes.Aborted
	}
	return statusWithDetails(code, done+"; then: "+s.Message(), details...)
}
