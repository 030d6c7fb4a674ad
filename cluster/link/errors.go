package link

import (
	"errors"
	"fmt"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// What a call to another node may end with.
var (
	// ErrUnavailable: certainly not done; another time it may be.
	ErrUnavailable = errors.New("not available now")
	// ErrUnknown: it may have been done, or may yet be.
	ErrUnknown = errors.New("what became of it is not known")
	// ErrRefused: certainly not done, and asking again won't help.
	ErrRefused = errors.New("refused")
)

// NotLeaderError says that the node asked does not lead; certainly nothing
// was done. It is ErrUnavailable too.
type NotLeaderError struct {
	Leader string // the node id it believes in, empty if none
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "this node does not lead, and knows of none that does"
	}
	return fmt.Sprintf("this node does not lead; %s does", e.Leader)
}

// Unwrap makes it ErrUnavailable to errors.Is.
func (e *NotLeaderError) Unwrap() error { return ErrUnavailable }

// refusalOf says an error of the handler to another node; other is what an
// error that has no meaning between nodes counts as.
func refusalOf(err error, other clusterv1.Refusal_Reason) *clusterv1.Refusal {
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

// errorOf is what node said, as an error here.
func errorOf(node string, r *clusterv1.Refusal) error {
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
