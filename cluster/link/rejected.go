package link

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// rejectedFor delays the end of a process that all nodes that answer reject.
const rejectedFor = 3 * time.Second

// RejectedError says why a process is not let in as the node whose keys it has.
type RejectedError struct {
	Node   string // whose keys it has
	By     string // the node that rejects it; empty: this one
	Reason clusterv1.Rejection_Reason
	Boot   uint64 // of the process that runs as the node
	Addr   string // where that process is; empty: not known
	// Certain is set if that process has answered after this one was there.
	Certain bool
}

func (e *RejectedError) Error() string {
	switch e.Reason {
	case clusterv1.Rejection_REASON_FOUNDING:
		return "the data of one of the two is of another founding of the site"
	case clusterv1.Rejection_REASON_OLD_COPY:
		return fmt.Sprintf("another process has run as node %s since its data was copied", e.Node)
	case clusterv1.Rejection_REASON_RUNNING:
		return fmt.Sprintf("another process runs as node %s, at %s", e.Node, e.Addr)
	}
	return fmt.Sprintf("another process may still run as node %s, at %s", e.Node, e.Addr)
}

// Is makes all of them one cause of refusals.
func (e *RejectedError) Is(target error) bool { return target == errRejected }

// isUndecided reports whether the process may be let in when it asks again.
func (e *RejectedError) isUndecided() bool {
	return e != nil && e.Reason == clusterv1.Rejection_REASON_UNDECIDED
}

func (e *RejectedError) rejection() *clusterv1.Rejection {
	return &clusterv1.Rejection{Reason: e.Reason, Boot: e.Boot, Addr: e.Addr, Certain: e.Certain}
}

// rejectedBy is what a node has said to this process.
func (l *Link) rejectedBy(node string, r *clusterv1.Rejection) error {
	return &RejectedError{Node: l.config.NodeID, By: node, Reason: r.Reason, Boot: r.Boot, Addr: r.Addr, Certain: r.Certain}
}

// isOtherFounding reports whether two data directories can't be of one site; an
// empty sum says nothing.
func isOtherFounding(a, b []byte) bool {
	n := min(len(a), len(b))
	return !bytes.Equal(a[:n], b[:n])
}

// rejections finds out whether this process may go on although other nodes
// reject it.
type rejections struct {
	mu    sync.Mutex
	since time.Time // since when it has been rejected, and let in by nobody
}

// reset notes that a node has let this process in.
func (r *rejections) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}

// add notes a rejection and returns for how long there have been nothing else.
func (r *rejections) add() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() {
		r.since = time.Now()
	}
	return time.Since(r.since)
}

// onRejected ends this process if it is the newcomer: the process that its data
// was copied from still runs; or it has no part in a site that works, and nobody
// has let it in for a while.
func (l *Link) onRejected(r *RejectedError) {
	if r.By == "" || r.Reason == clusterv1.Rejection_REASON_FOUNDING || r.isUndecided() {
		return
	}
	switch rejected := l.rejections.add(); {
	case r.Certain && slices.Contains(l.config.Lineage().Boot, r.Boot):
		l.fail(fmt.Errorf("node %s says: %w: this data directory is a copy of that one's; "+
			"a second node needs an id, a certificate and an empty data directory of its own", r.By, r))
	case rejected < rejectedFor || l.config.InTouch() || l.peers.isConnected():
	case r.Reason == clusterv1.Rejection_REASON_OLD_COPY:
		l.fail(fmt.Errorf("node %s says: %w, so this data directory is too old to be used: bring the newest one back, or have the node join as new: "+
			"simpctl node remove %s, simpctl node admit %s, a new certificate, simpd wipe, and start it", r.By, r, r.Node, r.Node))
	default:
		l.fail(fmt.Errorf("node %s says: %w: end one of the two; each node needs an id, a certificate and a data directory of its own", r.By, r))
	}
}
