package link

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// rejectionGrace delays the end of a process that all responding nodes
// reject.
const rejectionGrace = 3 * time.Second

// RejectedError is the reason why a process is not admitted as the node whose
// keys it has.
type RejectedError struct {
	Node        string // whose keys it has
	By          string // the node that rejects it; empty: this one
	Reason      clusterv1.Rejection_Reason
	Incarnation uint64 // of the process that runs as the node
	Addr        string // of that process; empty if not known
	// Certain reports that that process has responded since this one appeared.
	Certain bool
}

func (e *RejectedError) Error() string {
	switch e.Reason {
	case clusterv1.Rejection_REASON_OTHER_CLUSTER:
		return "one of the two has data with another cluster ID"
	case clusterv1.Rejection_REASON_OLD_COPY:
		return fmt.Sprintf("another process has run as node %s since its data was copied", e.Node)
	case clusterv1.Rejection_REASON_RUNNING:
		return fmt.Sprintf("another process runs as node %s, at %s", e.Node, e.Addr)
	}
	return fmt.Sprintf("another process may still run as node %s, at %s", e.Node, e.Addr)
}

// Is makes all of them one cause of refusals.
func (e *RejectedError) Is(target error) bool { return target == errRejected }

// isUndecided reports whether the process may be admitted when it asks again.
func (e *RejectedError) isUndecided() bool {
	return e != nil && e.Reason == clusterv1.Rejection_REASON_UNDECIDED
}

func (e *RejectedError) toProto() *clusterv1.Rejection {
	return &clusterv1.Rejection{Reason: e.Reason, Incarnation: e.Incarnation, Addr: e.Addr, Certain: e.Certain}
}

// rejectionError returns a node's rejection of this process.
func (l *Link) rejectionError(node string, r *clusterv1.Rejection) error {
	return &RejectedError{Node: l.config.NodeID, By: node, Reason: r.Reason, Incarnation: r.Incarnation, Addr: r.Addr, Certain: r.Certain}
}

// isOtherCluster reports whether two data directories belong to different
// clusters; an empty sum matches any.
func isOtherCluster(a, b []byte) bool {
	n := min(len(a), len(b))
	return !bytes.Equal(a[:n], b[:n])
}

// rejectionTracker decides whether this process may continue although other
// nodes reject it.
type rejectionTracker struct {
	mu    sync.Mutex
	since time.Time // start of a period in which nodes have only rejected it
}

// reset records that a node has admitted this process.
func (r *rejectionTracker) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}

// add records a rejection and returns how long there have been only
// rejections.
func (r *rejectionTracker) add() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.since = time.Now()
	}
	return time.Since(r.since)
}

// onRejected stops this process if it is the newcomer: the process that its
// data was copied from is still running; or it is not part of a working site
// and no node has admitted it for a while.
func (l *Link) onRejected(r *RejectedError) {
	if r.By == "" || r.Reason == clusterv1.Rejection_REASON_OTHER_CLUSTER || r.isUndecided() {
		return
	}
	switch rejected := l.rejections.add(); {
	case r.Certain && slices.Contains(l.config.Lineage().Incarnation, r.Incarnation):
		l.reportFatal(fmt.Errorf("node %s says: %w: this data directory is a copy of that one's; "+
			"a second node needs an id, a certificate and an empty data directory of its own", r.By, r))
	case rejected < rejectionGrace || l.config.InTouch() || l.peers.isConnected():
	case r.Reason == clusterv1.Rejection_REASON_OLD_COPY:
		l.reportFatal(fmt.Errorf("node %s says: %w, so this data directory is too old to be used: bring the newest one back, or have the node join as new: "+
			"simpctl node remove %s, simpctl node admit %s, a new certificate, simpd wipe, and start it", r.By, r, r.Node, r.Node))
	default:
		l.reportFatal(fmt.Errorf("node %s says: %w: end one of the two; each node needs an id, a certificate and a data directory of its own", r.By, r))
	}
}
