package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// readiness follows whether the node is of use to clients.
type readiness struct {
	first chan struct{} // closed when it was so for the first time
}

// How often it is looked at: often until the node is ready for the first
// time, for somebody waits for that.
const (
	readyFirst = 5 * time.Millisecond
	readyLater = 250 * time.Millisecond
)

// followChanges tells programs, the log and who waits of each change, until the node stops.
func (r *readiness) followChanges(n *node) {
	tick := time.NewTicker(readyFirst)
	defer tick.Stop()
	defer n.programs.Load().SetServing(false)
	was := errors.New("starting")
	for {
		now := n.Ready()
		if now == nil && !r.wasReady() {
			close(r.first) // before anybody is told: who is told may connect at once
			tick.Reset(readyLater)
		}
		if (now == nil) != (was == nil) {
			n.programs.Load().SetServing(now == nil)
			n.logReady(now)
		}
		was = now
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *node) logReady(why error) {
	if why != nil {
		n.logger.Warn("not ready", "reason", why)
		return
	}
	n.logger.Info("ready", "index", n.table.Index(), "history", n.table.History(), "leader", n.cluster.Leader())
}

// wasReady reports whether the node has ever been ready.
func (r *readiness) wasReady() bool {
	select {
	case <-r.first:
		return true
	default:
		return false
	}
}

// Ready returns nil if clients should be sent here, or why not.
func (n *node) Ready() error {
	if n.ctx.Err() != nil || n.leave.away.Load() {
		return errors.New("draining: clients are moved to other nodes")
	}
	if err := n.starting.Err(); err != nil {
		return err
	}
	return n.cluster.Ready()
}

// refusalReason says why a client is not greeted now, or "".
func (n *node) refusalReason() string {
	if n.leave.away.Load() {
		return "this node is draining; connect to another"
	}
	if why := n.router.Refuse(); why != "" {
		return why
	}
	if isMemoryShort(presentLimit()) {
		return noMemory
	}
	// Ready is asked too, so that a client that was told by /readyz that the node
	// is ready is not refused before follow has seen that.
	if !n.watch.wasReady() && n.Ready() != nil {
		return "this node is not part of its site yet; connect to another, or later"
	}
	return ""
}

const noMemory = "this node's memory is used up; connect to another, or later"

// AwaitReady returns once the node was ready for the first time.
func (n *node) AwaitReady(ctx context.Context) error {
	select {
	case <-n.watch.first:
		return nil
	case err := <-n.broken:
		return err
	case <-ctx.Done():
		return fmt.Errorf("node %s does not become ready: %w", n.conf.nodeID, n.Ready())
	}
}
