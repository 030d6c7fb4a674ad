package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// watchersFor is how long the other nodes have to say who watches a user.
const watchersFor = 2 * time.Second

// Deliver hands a message to a session on another node. It never blocks; done
// is called exactly once: with what the node answered, 480 if the session is
// not there; with 503 if the message was certainly not handed over there; with
// 201 if it may have been.
func (n *Node) Deliver(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	n.link.Deliver(node, s, m, done)
}

// Failed tells all other nodes of a failed login. It never blocks.
func (n *Node) Failed(a protocol.Attempt) { n.link.Failed(a) }

// Succeeded tells all other nodes of a login. It does not block.
func (n *Node) Succeeded(a protocol.Attempt) { n.link.Succeeded(a) }

// Watchers asks all other nodes that are up who watches user; partial if one
// did not answer within two seconds, or if there are more than fit into an
// answer to WATCHERS.
func (n *Node) Watchers(ctx context.Context, user protocol.Address) (by []protocol.Address, partial bool) {
	ctx, cancel := context.WithTimeout(ctx, watchersFor)
	defer cancel()
	var mu sync.Mutex
	octets := 0
	n.others(func(id string) {
		watchers, err := n.link.Watchers(ctx, id, user)
		mu.Lock()
		defer mu.Unlock()
		partial = partial || err != nil
		for _, a := range watchers {
			if octets += len(a.String()); octets > protocol.MaxWatchersOctets {
				partial = true
				return
			}
			by = append(by, a)
		}
	})
	return by, partial
}

// Kick closes the user's connections on all nodes that are up, this one among
// them, or only that of session s, and says how many it closed; the error joins
// those of the nodes that did not answer.
func (n *Node) Kick(ctx context.Context, user protocol.Address, s *store.Session) (closed int, err error) {
	var mu sync.Mutex
	n.others(func(id string) {
		k, e := n.link.Kick(ctx, id, user, s)
		mu.Lock()
		defer mu.Unlock()
		closed += k
		err = errors.Join(err, e)
	})
	return closed + n.cfg.Receiver.Kick(user, s), err
}

// Drain asks a node to send its clients away, within that time (0: as it is
// configured), or to stop doing so, and returns once it has begun to.
func (n *Node) Drain(ctx context.Context, node string, within time.Duration, undo bool) error {
	c := &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_Drain_{
		Drain: &clusterv1.CommandRequest_Drain{Undo: undo, WithinMs: uint64(within.Milliseconds())}}}
	if node == n.cfg.NodeID {
		return inbound{n}.Command(ctx, node, c)
	}
	return n.link.Command(ctx, node, c)
}

// Members are the nodes that gossip holds for alive, in the order of their ids.
func (n *Node) Members() []link.Member { return n.link.Members() }

// SetGossipKeys replaces the gossip keys while running: the first encrypts.
func (n *Node) SetGossipKeys(keys [][]byte) error { return n.link.SetKeys(keys) }

// Tell changes what this node tells of itself by gossip.
func (n *Node) Tell(change func(*link.Member)) error { return n.link.UpdateMember(change) }

// others calls f for each other node that is up, at once, and waits for all.
func (n *Node) others(f func(id string)) {
	var wg sync.WaitGroup
	for _, id := range n.up() {
		if id != n.cfg.NodeID {
			wg.Go(func() { f(id) })
		}
	}
	wg.Wait()
}
