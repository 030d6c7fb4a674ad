package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"simpd/cluster/link"
	"simpd/cluster/ratelimit"
	"simpd/protocol"
	"simpd/store"
)

// watchersTimeout is how long the other nodes have to report who watches a
// user.
const watchersTimeout = 2 * time.Second

// SendToNode sends a message to a session on another node. It never blocks. done
// is called exactly once: with that node's outcome (480 if the session is not
// there), with 503 if the message was certainly not delivered there, or with
// 201 if it may have been.
func (n *Node) SendToNode(node string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	n.link.SendToNode(node, s, m, done)
}

// Failed reports a failed login to all other nodes. It never blocks.
func (n *Node) Failed(a protocol.Attempt) { n.link.Failed(a) }

// Succeeded reports a login to all other nodes. It never blocks.
func (n *Node) Succeeded(a protocol.Attempt) { n.link.Succeeded(a) }

// Counted reports what this node has counted of the site's limits to all other
// nodes. It never blocks.
func (n *Node) Counted(counts []ratelimit.Count) { n.link.Counted(counts) }

// Watchers asks all other nodes that are up who watches user. partial reports
// that one did not answer within two seconds, or that there are more than fit
// into the response to WATCHERS.
func (n *Node) Watchers(ctx context.Context, user protocol.Address) (by []protocol.Address, partial bool) {
	ctx, cancel := context.WithTimeout(ctx, watchersTimeout)
	defer cancel()
	var mu sync.Mutex
	octets := 0
	n.forOthers(func(id string) {
		watchers, err := n.peers.Watchers(ctx, id, user)
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

// Kick closes the user's connections on all nodes that are up, including this
// one, or only the one with session s, and returns how many it closed. The
// error joins those of the nodes that did not answer.
func (n *Node) Kick(ctx context.Context, user protocol.Address, s *store.Session) (closed int, err error) {
	var mu sync.Mutex
	n.forOthers(func(id string) {
		k, e := n.peers.Kick(ctx, id, user, s)
		mu.Lock()
		defer mu.Unlock()
		closed += k
		err = errors.Join(err, e)
	})
	return closed + n.cfg.Receiver.Kick(user, s), err
}

// Members returns the nodes that gossip believes to be alive, sorted by ID.
func (n *Node) Members() []link.Member { return n.link.Members() }

// SetGossipKeys replaces the gossip keys while running: the first encrypts.
func (n *Node) SetGossipKeys(keys [][]byte) error { return n.link.SetKeys(keys) }

// UpdateMember changes this node's gossip metadata.
func (n *Node) UpdateMember(change func(*link.Member)) error { return n.link.UpdateMember(change) }

// forOthers calls f concurrently for each other node that is up, and waits
// for all.
func (n *Node) forOthers(f func(id string)) {
	var wg sync.WaitGroup
	for _, id := range n.liveNodes() {
		if id != n.cfg.NodeID {
			wg.Go(func() { f(id) })
		}
	}
	wg.Wait()
}
