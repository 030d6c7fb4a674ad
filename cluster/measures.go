package cluster

import (
	"errors"
	"sync/atomic"

	"simpd/protocol/meter"
)

// Measures is what a node counts of its part in the agreement. Any goroutine
// may read it at any time.
type Measures struct {
	Change  meter.Durations // from a proposal made here to its result
	Changes Results
	Commit  meter.Durations // of an entry, while this node leads
	Apply   meter.Durations // of an entry to this node's table
	Entries atomic.Uint64   // entries written while this node led
	Written atomic.Uint64   // changes in them
	Epochs  atomic.Uint64   // epochs begun by this process
	// TakenForDead counts how often the site has declared this node dead while
	// this process ran.
	TakenForDead atomic.Uint64
}

// Results counts how proposals ended.
type Results struct {
	Applied, Unavailable, Unknown atomic.Uint64 // by changes; refused ones are applied too
}

func (r *Results) count(changes int, err error) {
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

// Measures returns this node's counts.
func (n *Node) Measures() *Measures { return &n.measures }

// Peers is how many other nodes this one holds a stream to, of those that the
// table takes for up.
func (n *Node) Peers() (connected, up int) {
	for _, id := range n.up() {
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
