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
	uncertain func(error) bool
	notDone   func(error) bool
	cutOff    func() bool // whether this node is out of touch with the majority
	refusals  *refusals
}

// status returns err as a caller of m is told it.
func (e errorMap) status(m method, err error) error {
	var wire *protocol.Error
	var no *refused
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		r := reasonOf(no.refusal)
		return detailed(reasonCodes[r][0], no.text, r.info())
	case errors.As(err, &wire):
		return wireStatus(wire)
	case e.uncertain != nil && e.uncertain(err):
		return detailed(codes.Unknown, "what became of it is not known: it may have been done, or may yet be; look, and repeat it if not", reasonOutcomeUnknown.info())
	case e.notDone != nil && e.notDone(err): // also where it was the caller's time that ended
		return e.notDoneStatus(err)
	case errors.Is(err, context.DeadlineExceeded):
		return timedOut(m, "it took too long")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller went away")
	}
	return e.other(err)
}

// notDoneStatus is for what was certainly not done.
func (e errorMap) notDoneStatus(err error) error {
	if e.cutOff != nil && e.cutOff() {
		return errCutOff
	}
	return e.other(err)
}

// other is for statuses, and for errors of the site that have no meaning of
// their own here.
func (e errorMap) other(err error) error {
	if s, ok := status.FromError(err); ok {
		return explained(s)
	}
	if e.refusals.note(cause{"not served", limitText(err.Error())}) {
		e.refusals.logger.Warn("a call was not served", "error", err)
	}
	return unavailable(reasonUnavailable, err.Error())
}

// explained gives a status a detail that has none, as gRPC's own have.
func explained(s *status.Status) error {
	if len(s.Details()) > 0 {
		return s.Err()
	}
	if s.Code() == codes.InvalidArgument {
		return invalid(s.Message())
	}
	if r, ok := codeReasons[s.Code()]; ok {
		return detailed(s.Code(), s.Message(), r.info())
	}
	return s.Err()
}

// invalid refuses a request in which no one field is to blame.
func invalid(text string) error {
	f := &fields{}
	f.add("request", "%s", text)
	return f.err()
}

// timedOut tells a caller of m that the time is over.
func timedOut(m method, text string) error {
	if m.changes {
		return detailed(codes.DeadlineExceeded, text+"; it may have been done, or may yet be: look, and repeat it if not", reasonOutcomeUnknown.info())
	}
	return detailed(codes.DeadlineExceeded, text, reasonTimedOut.info())
}

// wireStatus gives SIMP's statuses their codes.
func wireStatus(e *protocol.Error) error {
	switch e.Status {
	case protocol.StatusBadRequest, protocol.StatusTooLarge:
		return invalid(e.Text)
	case protocol.StatusUnauthorized, protocol.StatusForbidden:
		return detailed(codes.PermissionDenied, e.Text, reasonNoRole.info())
	case protocol.StatusUnknownAddress:
		return detailed(codes.NotFound, e.Text, reasonNoNode.info())
	case protocol.StatusWrongState:
		return detailed(codes.FailedPrecondition, e.Text, reasonRefused.info())
	case protocol.StatusSlowDown:
		return exhausted(e.Text, time.Duration(e.Retry)*time.Second)
	case protocol.StatusUnavailable:
		return unavailable(reasonUnavailable, e.Text)
	}
	return detailed(codes.Internal, e.Text, reasonFault.info())
}

// unavailable says that this node can't serve the call now.
func unavailable(why reason, text string) error {
	return detailed(codes.Unavailable, text, why.info())
}

// exhausted refuses what is above a limit, and says when to try again.
func exhausted(text string, after time.Duration) error {
	return detailed(codes.ResourceExhausted, text, reasonOverLimit.info(), &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

// detailed is a status with details.
func detailed(c codes.Code, text string, details ...protoadapt.MessageV1) error {
	s, err := status.New(c, text).WithDetails(details...)
	if err != nil {
		return status.Error(c, text)
	}
	return s.Err()
}

// partly returns err as the end of a call of which a part was done. What may be
// tried again as it is must not be taken for not done.
func partly(err error, done string) error {
	s := status.Convert(err)
	info := reasonPartlyDone.info()
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
	return detailed(code, done+"; then: "+s.Message(), details...)
}
