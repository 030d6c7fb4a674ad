package cluster

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
	"simpd/store"
)

// server is a node in Raft's newest configuration.
func (n *Node) server(id string) (raft.Server, bool) {
	for _, s := range n.servers() {
		if string(s.ID) == id {
			return s, true
		}
	}
	return raft.Server{}, false
}

func (n *Node) isServer(id string) bool {
	_, ok := n.server(id)
	return ok
}

// membershipInterval is how often the link is told the members without a
// known change, because Raft may take an entry back.
const membershipInterval = time.Second

// watchMembership tells the link which nodes belong to the site, and which
// are excluded, whenever that changes, until ctx ends.
func (n *Node) watchMembership(ctx context.Context) {
	tick := time.NewTicker(membershipInterval)
	defer tick.Stop()
	for {
		servers, nodes := n.configChanged.Changed(), n.nodesChanged.Changed()
		n.publishMembership()
		select {
		case <-servers:
		case <-nodes:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// publishedMembership holds the membership that the link was last told.
type publishedMembership struct {
	mu            sync.Mutex // held while the link is told
	configuration link.Configuration
	removed       []store.RemovedNode
}

func (n *Node) publishMembership() {
	p := &n.published
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.leadership.raft.Load() == nil {
		return // it is told once Raft has read its log
	}
	if c := n.configuration(); !sameConfiguration(c, p.configuration) {
		p.configuration = c
		n.link.SetConfiguration(c)
	}
	if r := n.table.RemovedNodes(); !slices.EqualFunc(r, p.removed, sameRemoved) {
		p.removed = r
		n.link.SetRemoved(removedOf(r))
	}
}

// configuration returns Raft's newest configuration, with how far this node's
// log was applied before it was read, since a node that has come further
// knows better. Before there is one, the initial voters are the members.
func (n *Node) configuration() link.Configuration {
	c := link.Configuration{Index: n.fsm.progress.Value(), Servers: map[string]string{}, Voters: map[string]bool{}}
	for _, s := range n.servers() {
		c.Servers[string(s.ID)] = string(s.Address)
		if s.Suffrage == raft.Voter {
			c.Voters[string(s.ID)] = true
		}
	}
	if len(c.Servers) > 0 {
		return c
	}
	for _, id := range n.storage.Manifest.Get().InitialVoters {
		c.Servers[id], c.Voters[id] = "", true
	}
	return c
}

func sameConfiguration(a, b link.Configuration) bool {
	return b.Servers != nil && a.Index == b.Index && maps.Equal(a.Servers, b.Servers) && maps.Equal(a.Voters, b.Voters)
}

func sameRemoved(a, b store.RemovedNode) bool {
	return a.ID == b.ID && a.Excluded == b.Excluded && len(a.Certificates) == len(b.Certificates)
}

func removedOf(nodes []store.RemovedNode) link.Removed {
	r := link.Removed{Nodes: map[string]bool{}, Certificates: map[store.Fingerprint]bool{}}
	for _, node := range nodes {
		if node.Excluded {
			r.Nodes[node.ID] = true
		}
		for _, f := range node.Certificates {
			r.Certificates[f] = true
		}
	}
	return r
}

// announceData announces by gossip which cluster this node's data belongs to,
// once there is data.
func (n *Node) announceData(ctx context.Context) {
	tick := time.NewTicker(membershipInterval)
	defer tick.Stop()
	for told := n.storage.Manifest.Get().Dirty; !told; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		told = n.storage.Manifest.Get().Dirty && n.link.UpdateMember(func(*link.Member) {}) == nil
	}
}

// trustTimeout is how long after the leader's last message this node's log
// counts as up to date about the members.
const trustTimeout = 3 * time.Second

// inTouch reports whether this node leads, or has just heard from a leader.
func (n *Node) inTouch() bool {
	return n.leadership.inTouch(trustTimeout)
}
