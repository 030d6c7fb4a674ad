package protocol

import "fmt"

// Status is the three-digit number that a response bears (SIMP.md, section 3).
type Status int

// The statuses of SIMP 1.0.
const (
	StatusPartial        Status = 100
	StatusChallenge      Status = 101
	StatusOK             Status = 200
	StatusIndeterminate  Status = 201
	StatusMixed          Status = 207
	StatusBadRequest     Status = 400
	StatusUnauthorized   Status = 401
	StatusForbidden      Status = 403
	StatusUnknownAddress Status = 404
	StatusUnknownVerb    Status = 405
	StatusWrongState     Status = 409
	StatusTooLarge       Status = 413
	StatusTLSNeeded      Status = 421
	StatusSlowDown       Status = 429
	StatusNotListening   Status = 480
	StatusNotReading     Status = 481
	StatusRefused        Status = 486
	StatusServerError    Status = 500
	StatusRemoteFailure  Status = 502
	StatusUnavailable    Status = 503
	StatusRemoteTimeout  Status = 504
	StatusVersion        Status = 505
)

// Interim reports whether more responses to the same request follow.
func (s Status) Interim() bool { return s/100 == 1 }

// OK reports whether s is a 2xx.
func (s Status) OK() bool { return s/100 == 2 }

// ExplainOutcome returns what the outcome s of a message to somebody means, for
// people. It says nothing about StatusOK.
func (s Status) ExplainOutcome(to string) string {
	switch s {
	case StatusOK:
		return ""
	case StatusIndeterminate:
		return "handed over, but no answer came"
	case StatusUnknownAddress:
		return "there is no user " + to
	case StatusNotListening:
		return to + " is not listening"
	case StatusNotReading:
		return "the client of " + to + " does not take what it is sent"
	case StatusRefused:
		return "the client of " + to + " refused the message"
	case StatusWrongState:
		return "the id was used for another message"
	case StatusUnavailable:
		return "the node of " + to + " can't be reached now; nothing was handed over"
	}
	return "the message was not delivered"
}

// Error is a refusal: a status and a sentence that says why. The server
// answers a request with it as it stands.
type Error struct {
	Status Status
	Text   string
	Retry  int // seconds, for 429 and, if not 0, 503
}

func (e *Error) Error() string { return fmt.Sprintf("%d %s", int(e.Status), e.Text) }

// Errorf makes an *Error.
func Errorf(s Status, format string, args ...any) *Error {
	return &Error{Status: s, Text: fmt.Sprintf(format, args...)}
}
