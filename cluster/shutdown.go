package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// How long each word of farewell may take.
const (
	handOverFor = 2 * time.Second
	goDownFor   = 1 * time.Second
)

// Shutdown takes this node out of service, in the reverse of its start. Its
// clients should be gone by then. It takes no longer than ctx, but for what
// the disk takes, and leaves nothing running.
func (n *Node) Shutdown(ctx context.Context) error {
	n.leaving.Store(true) // or it would come up again
	n.abdicate(ctx)
	// The site need not wait to find out that this node is gone.
	down, cancel := context.WithTimeout(ctx, goDownFor)
	n.goDown(down)
	cancel()
	err := n.link.Leave()
	return errors.Join(err, n.Close())
}

// abdicate hands leadership over, so that nobody waits for an election.
func (n *Node) abdicate(ctx context.Context) {
	if n.raft.State() != raft.Leader || len(n.servers()) == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverFor)
	defer cancel()
	err := n.handOver(ctx, "")
	if err == nil {
		_, err = n.awaitLeader(ctx, n.cfg.NodeID)
	}
	if err != nil {
		n.cfg.Logger.Warn("the site will have to elect a new leader", "error", err)
	}
}

// Close ends the node at once, without a word to the others, as the end of
// its process would; but it leaves nothing running.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.stop()
	// The leader's duties and all proposals end before Raft does: what Raft
	// still has queued when it ends is never answered.
	n.wg.Wait()
	n.confirms.wg.Wait()
	n.intake.wg.Wait()
	n.verifying.close()
	var errs []error
	if n.raft != nil {
		errs = append(errs, n.raft.Shutdown().Error())
		errs = append(errs, n.note())
	}
	close(n.notified) // Raft tells nothing more
	n.drained.Wait()
	if n.gate != nil {
		errs = append(errs, n.gate.Close())
	}
	if n.link != nil {
		errs = append(errs, n.link.Close())
		n.announcer.end()
	}
	if n.disk != nil {
		errs = append(errs, n.disk.Close())
	}
	return errors.Join(errs...)
}
