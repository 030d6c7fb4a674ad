package link

import (
	"context"
	"fmt"
	"log"
	"log/slog"
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
	_, site, err := decodeMember(n.Name, n.Meta)
	if err == nil && site != g.link.config.Site {
		err = fmt.Errorf("node %q is of site %q", n.Name, site)
	}
	if err == nil && g.link.members.isExcluded(n.Name) {
		err = fmt.Errorf("node %q was removed from the site", n.Name)
	}
	if err == nil && !g.hasRoom(n.Name) {
		err = fmt.Errorf("there are %d nodes already", maxPeers)
	}
	return err
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
// The newcomer gives way.
func (g *gossip) challenge(addr string) {
	defer func() {
		g.mu.Lock()
		g.checked = false
		g.mu.Unlock()
	}()
	if addr == g.link.addr || !g.answers(addr) {
		return
	}
	err := fmt.Errorf("another process at %s runs as node %s", addr, g.link.config.NodeID)
	g.link.logger.Error(err.Error())
	if time.Since(g.started) < young {
		g.link.fail(err)
	}
}

// answers tells whether a node with this one's own id answers at addr.
func (g *gossip) answers(addr string) bool {
	ctx, cancel := context.WithTimeout(g.stop, dialTimeout)
	defer cancel()
	conn, err := g.link.mux.dial(ctx, g.link.config.NodeID, addr, callProtocol)
	if err != nil {
		return false
	}
	defer conn.Close()
	client, err := g.link.client(once(conn))
	if err != nil {
		return false
	}
	defer client.Close()
	_, err = clusterv1.NewPeerClient(client).Probe(ctx, &clusterv1.ProbeRequest{})
	return err == nil
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
