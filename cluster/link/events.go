package link

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// The methods in this file are called by memberlist, most of them under its
// lock: they wait for nothing and ask it nothing. What they are given is
// copied.

// NotifyAlive rejects nodes of other sites and those whose metadata cannot be
// decoded.
func (g *gossip) NotifyAlive(n *memberlist.Node) error {
	m, site, err := decodeMember(n.Name, n.Meta)
	if err == nil && site != g.link.config.Site {
		err = fmt.Errorf("node %q is of site %q", n.Name, site)
	}
	if err == nil && g.isForeign(m) {
		g.dropForeign(m)
		err = fmt.Errorf("node %q at %q has another cluster ID: its site has the name and the keys of this one", n.Name, m.ClusterAddr)
	}
	if err == nil && g.link.members.isExcluded(n.Name) {
		err = fmt.Errorf("node %q was removed from the site", n.Name)
	}
	if err == nil && !g.hasRoom(n.Name) {
		err = fmt.Errorf("there are %d nodes already", maxPeers)
	}
	return err
}

// isForeign reports whether a node's data belongs to another cluster with the
// same site name, and records such a node. What two clusters tell each other
// would move nodes of one to the addresses of the other.
func (g *gossip) isForeign(m Member) bool {
	foreign := isOtherCluster([]byte(m.ClusterIDSum), []byte(g.clusterIDSum()))
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !foreign:
		delete(g.foreign, m.ClusterAddr)
	case len(g.foreign) < maxPeers:
		g.foreign[m.ClusterAddr] = m.ID
	}
	return foreign
}

// dropForeign forgets a member that has received data of another cluster
// since it was accepted.
func (g *gossip) dropForeign(m Member) {
	g.mu.Lock()
	met := g.members[m.ID].ClusterAddr == m.ClusterAddr
	if met {
		delete(g.members, m.ID)
		delete(g.seen, m.ID)
	}
	g.mu.Unlock()
	if met {
		g.link.peers.onGossip(m.ID, nil)
	}
}

// hasRoom reports whether a node with that name may be recorded. Whoever has
// the key could invent any number of nodes.
func (g *gossip) hasRoom(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.members[id]
	return known || len(g.members) < maxPeers
}

// removeMember stops treating a node as a member, because it was excluded.
func (g *gossip) removeMember(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m, ok := g.members[id]; ok {
		g.excluded[id] = toldMember{m, g.seen[id]}
	}
	delete(g.members, id)
	delete(g.seen, id)
}

// toldMember is a live node as gossip has told of it.
type toldMember struct {
	Member
	addr string // of its gossip
}

// readmit records the live nodes that were excluded and may join again. It
// does not ask memberlist for them, whose nodes change while they are read.
func (g *gossip) readmit() {
	g.mu.Lock()
	told := maps.Clone(g.excluded)
	g.mu.Unlock()
	for id := range told {
		if g.link.members.isExcluded(id) {
			continue
		}
		g.mu.Lock()
		now, stillThere := g.excluded[id]
		delete(g.excluded, id)
		g.mu.Unlock()
		if stillThere {
			g.record(now)
		}
	}
}

// NotifyJoin records a live node.
func (g *gossip) NotifyJoin(n *memberlist.Node) { g.onMember(n) }

// NotifyUpdate records a node's new metadata.
func (g *gossip) NotifyUpdate(n *memberlist.Node) { g.onMember(n) }

func (g *gossip) onMember(n *memberlist.Node) {
	m, _, err := decodeMember(n.Name, n.Meta)
	if err != nil || m.ID == g.link.config.NodeID {
		return
	}
	told := toldMember{m, n.Address()}
	if g.link.members.isExcluded(m.ID) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if _, known := g.excluded[m.ID]; known || len(g.excluded) < maxPeers {
			g.excluded[m.ID] = told
		}
		return
	}
	g.record(told)
}

// record records a live node that is not excluded.
func (g *gossip) record(told toldMember) {
	m := told.Member
	g.mu.Lock()
	delete(g.excluded, m.ID)
	g.members[m.ID] = m
	g.seen[m.ID] = told.addr
	g.mu.Unlock()
	g.link.peers.onGossip(m.ID, &m)
	g.link.events.enqueue(func(to Membership) { to.MemberUp(m) })
}

// NotifyLeave records a node that has left or does not respond. A node that
// does not respond is still contacted, since it may only have been cut off.
func (g *gossip) NotifyLeave(n *memberlist.Node) {
	id := n.Name
	g.mu.Lock()
	delete(g.excluded, id)
	g.mu.Unlock()
	if id == g.link.config.NodeID || g.link.members.isExcluded(id) {
		return
	}
	g.mu.Lock()
	left := g.members[id].Leaving // n.State does not tell
	delete(g.members, id)
	if left {
		delete(g.seen, id)
	}
	g.mu.Unlock()
	if left {
		g.link.peers.onGossip(id, nil)
		g.link.events.enqueue(func(to Membership) { to.MemberLeft(id) })
		return
	}
	g.rejoinSoon.Notify()
	g.link.events.enqueue(func(to Membership) { to.MemberSuspect(id, Silent) })
}

// NotifyConflict is called when a node with a known ID appears at another
// address.
func (g *gossip) NotifyConflict(existing, other *memberlist.Node) {
	g.link.logger.Warn("gossip: two nodes have one id", "node", existing.Name, "addr", existing.Address(), "other_addr", other.Address())
	m, _, err := decodeMember(other.Name, other.Meta)
	if err != nil || existing.Name != g.link.config.NodeID {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.resolving && g.ctx.Err() == nil {
		g.resolving = true
		g.running.Go(func() { g.resolveConflict(m.ClusterAddr) })
	}
}

// resolveConflict checks whether another live process uses this node's ID.
// What gossip has may be this node's own past at an earlier address. Between
// processes with data, other nodes decide by their streams.
func (g *gossip) resolveConflict(addr string) {
	defer func() {
		g.mu.Lock()
		g.resolving = false
		g.mu.Unlock()
	}()
	if addr == g.link.addr {
		return
	}
	ctx, cancel := context.WithTimeout(g.ctx, dialTimeout)
	defer cancel()
	other, err := g.link.probeAt(ctx, g.link.config.NodeID, addr)
	if err != nil {
		return
	}
	err = fmt.Errorf("another process at %s runs as node %s: end one of the two; each node needs an id, a certificate and a data directory of its own", addr, g.link.config.NodeID)
	g.link.logger.Error(err.Error())
	if g.isNewcomer(other) {
		g.link.reportFatal(err)
	}
}

// isNewcomer reports whether this process must give way to another one with
// its ID that only gossip has found: it is not part of a working site, it has
// no data of its own unless no other node can decide, and it is the younger
// one.
func (g *gossip) isNewcomer(other *clusterv1.ProbeResponse) bool {
	l := g.link
	uptime := time.Since(g.started)
	switch hasData := len(l.config.Lineage().ClusterIdSum) > 0; {
	case l.config.InTouch() || l.peers.anyChecksIncarnation():
		return false
	case hasData && (!l.peers.isConnected() || isOtherCluster(other.ClusterIdSum, l.config.Lineage().ClusterIdSum)):
		return false
	case other.UptimeMs > 0:
		return uptime <= time.Duration(other.UptimeMs)*time.Millisecond
	}
	return uptime < newcomerUptime
}

// ProbeForeign probes the nodes of other clusters with the same site name
// that gossip has met, and returns their responses.
func (l *Link) ProbeForeign(ctx context.Context) (all []*clusterv1.ProbeResponse) {
	l.gossip.mu.Lock()
	foreign := maps.Clone(l.gossip.foreign)
	l.gossip.mu.Unlock()
	for addr, node := range foreign {
		if p, err := l.probeAt(ctx, node, addr); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// probeAt probes the node at an address of a cluster listener.
func (l *Link) probeAt(ctx context.Context, node, addr string) (*clusterv1.ProbeResponse, error) {
	conn, err := l.mux.dial(ctx, node, addr, callProtocol)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client, err := l.newClient(singleUseDialer(conn))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return clusterv1.NewPeerClient(client).Probe(ctx, &clusterv1.ProbeRequest{})
}

// delegate provides this node's metadata to memberlist; nothing else is sent
// by gossip.
type delegate struct{ *gossip }

func (d delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.meta
}

func (delegate) NotifyMsg([]byte)                {}
func (delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (delegate) LocalState(bool) []byte          { return nil }
func (delegate) MergeRemoteState([]byte, bool)   {}

// memberlistLog returns a logger that forwards memberlist's messages to to.
func memberlistLog(to *slog.Logger) *log.Logger {
	return log.New(logLines{to.With("part", "gossip")}, "", 0)
}

// logLines parses memberlist's lines, which have the form "[WARN] memberlist:
// what: why".
type logLines struct{ to *slog.Logger }

// Write logs one line. Its kind becomes the message, so that lines of one
// kind are rate limited together; the rest becomes an attribute.
func (l logLines) Write(line []byte) (int, error) {
	level, text, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	levels := map[string]slog.Level{"[DEBUG]": slog.LevelDebug, "[INFO]": slog.LevelInfo, "[WARN]": slog.LevelWarn, "[ERR]": slog.LevelError}
	at, ok := levels[level]
	if !ok {
		at, text = slog.LevelInfo, strings.TrimSpace(string(line))
	}
	text = strings.TrimPrefix(text, "memberlist: ")
	var args []any
	for _, mark := range []string{": ", " from="} {
		if what, detail, ok := strings.Cut(text, mark); ok {
			text, args = what, []any{"detail", strings.TrimLeft(mark+detail, ": ")}
			break
		}
	}
	l.to.Log(context.Background(), at, "memberlist: "+text, args...)
	return len(line), nil
}
