package cluster

import (
	"errors"
	"sync/atomic"
	"time"

	"simpd/protocol/histogram"
)

// Metrics counts what a node does for the agreement. Any goroutine may read
// it at any time.
type Metrics struct {
	Change  histogram.Durations // from a proposal made here to its result
	Changes Results
	Commit  histogram.Durations // of an entry, while this node leads
	Apply   histogram.Durations // of an entry to this node's table
	Entries atomic.Uint64       // entries written while this node led
	Written atomic.Uint64       // changes in them
	Epochs  atomic.Uint64       // started by this process
	// TakenForDead counts how often the site has declared this node dead while
	// this process ran.
	TakenForDead atomic.Uint64
}

// addEntry counts an entry with so many changes, of which it has become known
// what became of it.
func (m *Metrics) addEntry(changes int, begun time.Time) {
	m.Commit.ObserveSince(begun)
	m.Entries.Add(1)
	m.Written.Add(uint64(changes))
}

// Results counts the results of proposals.
type Results struct {
	Applied, Unavailable, Unknown atomic.Uint64 // by changes; refused ones are applied too
}

func (r *Results) add(changes int, err error) {
	n := uint64(changes)
	switch {
	case err == nil:
		r.Applied.Add(n)
	case errors.Is(err, ErrUnknown):
		r.Unknown.Add(n)
	default:
		r.Unavailable.Add(n)
	}
}

// Metrics returns this node's metrics.
func (n *Node) Metrics() *Metrics { return &n.metrics }

// Peers returns to how many of the other nodes that the table considers up
// this one has a stream.
func (n *Node) Peers() (connected, up int) {
	for _, id := range n.liveNodes() {
		if id == n.cfg.NodeID {
			continue
		}
		up++
		if n.link.Connectivity(id).Connected {
			connected++
		}
	}
	return connected, up
}
