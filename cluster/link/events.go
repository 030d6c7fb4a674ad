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

// NotifyAlive turns away nodes of other sites, and those that do not say what
// they are.
func (g *gossip) NotifyAlive(n *memberlist.Node) error {
	m, site, err := decodeMember(n.Name, n.Meta)
	if err == nil && site != g.link.config.Site {
		err = fmt.Errorf("node %q is of site %q", n.Name, site)
	}
	if err == nil && g.isForeign(m) {
		g.dropForeign(m)
		err = fmt.Errorf("node %q at %q is of another founding of the site: its site has the name and the keys of this one", n.Name, m.ClusterAddr)
	}
	if err == nil && g.link.members.isExcluded(n.Name) {
		err = fmt.Errorf("node %q was removed from the site", n.Name)
	}
	if err == nil && !g.hasRoom(n.Name) {
		err = fmt.Errorf("there are %d nodes already", maxPeers)
	}
	return err
}

// isForeign reports whether a node's data is of another founding of the site
// than this node's, and notes it: what two such sites tell each other would move
// nodes of one to the addresses of the other.
func (g *gossip) isForeign(m Member) bool {
	foreign := isOtherFounding([]byte(m.FoundingSum), []byte(g.foundingSum()))
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

// dropForeign forgets a member that has got data of another founding since it was
// met.
func (g *gossip) dropForeign(m Member) {
	g.mu.Lock()
	met := g.members[m.ID].ClusterAddr == m.ClusterAddr
	if met {
		delete(g.members, m.ID)
		delete(g.seen, m.ID)
	}
	g.mu.Unlock()
	if met {
		g.link.peers.gossiped(m.ID, nil)
	}
}

// hasRoom reports whether a node of that name may be noted: whoever has the key
// can invent as many as they like.
func (g *gossip) hasRoom(id string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, known := g.members[id]
	return known || len(g.members) < maxPeers
}

// forget drops what gossip has told of a node that was removed.
func (g *gossip) forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.members, id)
	delete(g.seen, id)
}

// recall takes in what gossip has told of nodes that may join again.
func (g *gossip) recall() {
	g.mu.Lock()
	list := g.list
	g.mu.Unlock()
	if list == nil {
		return
	}
	for _, n := range list.Members() {
		g.mu.Lock()
		_, known := g.members[n.Name]
		g.mu.Unlock()
		if !known {
			g.told(n)
		}
	}
}

// NotifyJoin notes a node that is alive.
func (g *gossip) NotifyJoin(n *memberlist.Node) { g.told(n) }

// NotifyUpdate notes what a node tells of itself now.
func (g *gossip) NotifyUpdate(n *memberlist.Node) { g.told(n) }

func (g *gossip) told(n *memberlist.Node) {
	m, _, err := decodeMember(n.Name, n.Meta)
	if err != nil || m.ID == g.link.config.NodeID || g.link.members.isExcluded(m.ID) {
		return
	}
	g.mu.Lock()
	g.members[m.ID] = m
	g.seen[m.ID] = n.Address()
	g.mu.Unlock()
	g.link.peers.gossiped(m.ID, &m)
	g.link.herald.tell(func(to Membership) { to.MemberUp(m) })
}

// NotifyLeave notes a node that has left or does not answer. One that does
// not answer is still called: it may have been cut off.
func (g *gossip) NotifyLeave(n *memberlist.Node) {
	id := n.Name
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
		g.link.peers.gossiped(id, nil)
		g.link.herald.tell(func(to Membership) { to.MemberLeft(id) })
		return
	}
	poke(g.again)
	g.link.herald.tell(func(to Membership) { to.MemberSuspect(id, Silent) })
}

// NotifyConflict is called when a node of a known id appears elsewhere.
func (g *gossip) NotifyConflict(existing, other *memberlist.Node) {
	g.link.logger.Warn("gossip: two nodes have one id", "node", existing.Name, "at", existing.Address(), "and", other.Address())
	m, _, err := decodeMember(other.Name, other.Meta)
	if err != nil || existing.Name != g.link.config.NodeID {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.checked && g.stop.Err() == nil {
		g.checked = true
		g.running.Go(func() { g.challenge(m.ClusterAddr) })
	}
}

// challenge finds out whether a process that uses this node's id is alive:
// what gossip has may be this node's own past, at an address it had before.
// Between processes that have data other nodes decide, by their streams.
func (g *gossip) challenge(addr string) {
	defer func() {
		g.mu.Lock()
		g.checked = false
		g.mu.Unlock()
	}()
	if addr == g.link.addr {
		return
	}
	ctx, cancel := context.WithTimeout(g.stop, dialTimeout)
	defer cancel()
	other, err := g.link.probeAt(ctx, g.link.config.NodeID, addr)
	if err != nil {
		return
	}
	err = fmt.Errorf("another process at %s runs as node %s: end one of the two; each node needs an id, a certificate and a data directory of its own", addr, g.link.config.NodeID)
	g.link.logger.Error(err.Error())
	if g.isNewcomer(other) {
		g.link.fail(err)
	}
}

// isNewcomer reports whether this process gives way to another one of its id by
// what gossip alone has found: it has no part in a site that works, has no data
// of its own unless no other node can decide, and is the younger one.
func (g *gossip) isNewcomer(other *clusterv1.ProbeResponse) bool {
	l := g.link
	uptime := time.Since(g.started)
	switch hasData := len(l.config.Lineage().FoundingSum) > 0; {
	case l.config.InTouch() || l.peers.anyTakesBoot():
		return false
	case hasData && (!l.peers.isConnected() || isOtherFounding(other.FoundingSum, l.config.Lineage().FoundingSum)):
		return false
	case other.UptimeMs > 0:
		return uptime <= time.Duration(other.UptimeMs)*time.Millisecond
	}
	return uptime < young
}

// ProbeForeign asks the nodes of another founding of the site that gossip has met
// what they have, and returns the answers.
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

// probeAt asks the node that is found at an address of a cluster listener what
// it has.
func (l *Link) probeAt(ctx context.Context, node, addr string) (*clusterv1.ProbeResponse, error) {
	conn, err := l.mux.dial(ctx, node, addr, callProtocol)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client, err := l.client(once(conn))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return clusterv1.NewPeerClient(client).Probe(ctx, &clusterv1.ProbeRequest{})
}

// delegate says what this node tells of itself; nothing else goes by gossip.
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

// memberlistLog passes on what memberlist logs.
func memberlistLog(to *slog.Logger) *log.Logger {
	return log.New(logLines{to.With("part", "gossip")}, "", 0)
}

// logLines takes memberlist's lines, "[WARN] memberlist: what: why".
type logLines struct{ to *slog.Logger }

// Write takes one line. Its kind is the message, so that lines of one kind can
// be limited together; what differs is an attribute.
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
