package peerrpc

import (
	"errors"
	"fmt"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/store"
)

// Errors of calls to other nodes.
var (
	// ErrUnavailable means that the call was certainly not carried out, and may
	// succeed later.
	ErrUnavailable = store.ErrUnavailable
	// ErrUnknown means that the call may have been carried out, or may yet be.
	ErrUnknown = store.ErrUnknown
	// ErrRefused means that the call was certainly not carried out, and that
	// repeating it does not help.
	ErrRefused = errors.New("refused")
)

// Unavailable returns an ErrUnavailable with a reason.
func Unavailable(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnavailable, fmt.Errorf(format, args...))
}

// Unknown returns an ErrUnknown with a reason.
func Unknown(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUnknown, fmt.Errorf(format, args...))
}

// NotLeaderError means that the called node is not the leader and certainly
// did nothing. It is also ErrUnavailable.
type NotLeaderError struct {
	Leader string // ID of the leader that the node knows, or ""
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "this node does not lead, and does not know which node does"
	}
	return fmt.Sprintf("this node does not lead; %s does", e.Leader)
}

// Unwrap returns ErrUnavailable.
func (e *NotLeaderError) Unwrap() error { return ErrUnavailable }

// EncodeError converts an error of a call for the node that has called.
// ErrUnavailable, ErrUnknown, ErrRefused and *NotLeaderError arrive as such,
// wrapped or not; any other error arrives with the reason other.
func EncodeError(err error, other clusterv1.Refusal_Reason) *clusterv1.Refusal {
	if err == nil {
		return nil
	}
	r := &clusterv1.Refusal{Reason: other, Text: err.Error()}
	var notLeader *NotLeaderError
	switch {
	case errors.As(err, &notLeader):
		r.Reason, r.Leader = clusterv1.Refusal_REASON_NOT_LEADER, notLeader.Leader
	case errors.Is(err, ErrUnknown):
		r.Reason = clusterv1.Refusal_REASON_UNKNOWN
	case errors.Is(err, ErrRefused):
		r.Reason = clusterv1.Refusal_REASON_REFUSED
	case errors.Is(err, ErrUnavailable):
		r.Reason = clusterv1.Refusal_REASON_UNAVAILABLE
	}
	return r
}

// decodeError converts a refusal by node to an error.
func decodeError(node string, r *clusterv1.Refusal) error {
	if r == nil {
		return nil
	}
	switch r.Reason {
	case clusterv1.Refusal_REASON_NOT_LEADER:
		return fmt.Errorf("node %s: %w", node, &NotLeaderError{Leader: r.Leader})
	case clusterv1.Refusal_REASON_UNAVAILABLE:
		return fmt.Errorf("node %s: %w: %s", node, ErrUnavailable, r.Text)
	case clusterv1.Refusal_REASON_REFUSED:
		return fmt.Errorf("node %s: %w: %s", node, ErrRefused, r.Text)
	}
	return fmt.Errorf("node %s: %w: %s", node, ErrUnknown, r.Text)
}
