package cluster

import (
	"context"
	"errors"
	"time"
)

// How long each word of farewell may take.
const (
	stepDownTimeout   = 2 * time.Second
	deregisterTimeout = 1 * time.Second
)

// Shutdown takes this node out of service, in reverse order of its start. Its
// clients should be gone by then. It takes no longer than ctx, except for the
// disk, and leaves nothing running.
func (n *Node) Shutdown(ctx context.Context) error {
	n.leaving.Store(true) // or it would come up again
	n.stepDown(ctx)
	// The site need not wait to find out that this node is gone.
	down, cancel := context.WithTimeout(ctx, deregisterTimeout)
	n.deregister(down)
	cancel()
	err := n.link.Leave()
	return errors.Join(err, n.Close())
}

// stepDown transfers leadership, so that nobody waits for an election.
func (n *Node) stepDown(ctx context.Context) {
	if !n.leadership.isElected() || len(n.servers()) == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stepDownTimeout)
	defer cancel()
	err := n.transferAway(ctx, "")
	if err == nil {
		_, err = n.leadership.awaitOther(ctx, n.cfg.NodeID)
	}
	if err != nil {
		n.cfg.Logger.Warn("the site will have to elect a new leader", "error", err)
	}
}

// Close ends the node at once, without informing the others, like the end of
// its process; but it leaves nothing running.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.stop()
	// The leader's duties and all proposals end before Raft does: what Raft
	// still has queued when it ends is never answered.
	n.wg.Wait()
	n.readIndexer.wg.Wait()
	n.batcher.Wait()
	n.leadership.stop()
	var errs []error
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
		errs = append(errs, n.saveProgress())
	}
	n.leadership.close() // Raft tells nothing more
	if n.transport != nil {
		errs = append(errs, n.transport.Close())
	}
	if n.link != nil {
		errs = append(errs, n.link.Close())
		n.broadcaster.close()
	}
	if n.storage != nil {
		errs = append(errs, n.storage.Close())
	}
	return errors.Join(errs...)
}
