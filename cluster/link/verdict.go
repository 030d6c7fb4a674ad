package link

import (
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// opinion is what this node has heard from another one of who is of the site.
type opinion struct {
	pending   bool // it may yet be heard: it was neither reached nor found to be gone
	connected bool // its stream is open, and it was heard just now
	told      *clusterv1.Configuration
}

// has reports whether the node's configuration names that id.
func (o opinion) has(id string) bool {
	for _, s := range o.told.GetServer() {
		if s == id {
			return true
		}
	}
	return false
}

// opinions are those of all nodes that are known.
func (ps *peers) opinions() map[string]opinion {
	all := map[string]opinion{}
	for _, p := range ps.all() {
		all[p.id] = p.opinion()
	}
	return all
}

func (p *peer) opinion() opinion {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := opinion{connected: p.contact.Connected && time.Since(p.heard) < silenceTimeout}
	o.pending = !o.connected && p.contact.Suspicion == NotSuspected
	if o.connected {
		o.told = p.told
	}
	return o
}

// verdict is whether a node is a member; open: a node that was not heard yet
// may change it.
type verdict struct{ member, open bool }

// judge finds out whether a node is a member.
func (m *membership) judge(id string, opinions map[string]opinion) verdict {
	m.mu.Lock()
	known, own, removed := m.known, m.own, m.removed.Nodes[id]
	m.mu.Unlock()
	switch {
	case id == m.link.config.NodeID:
		return verdict{member: known}
	case !known:
		return verdict{open: true}
	case len(own.Servers) == 0:
		return judgeAsOutsider(id, removed, opinions)
	}
	if _, ok := own.Servers[id]; ok {
		return m.judgeServer(id, own, opinions)
	}
	yes, no, open := votes(id, own, opinions, true)
	return verdict{member: yes > no, open: yes <= no && open}
}

// judgeAsOutsider judges for a node without a configuration, which has nothing
// to keep and knows nobody: it believes who is not denied by others.
func judgeAsOutsider(id string, removed bool, opinions map[string]opinion) verdict {
	yes, no, open := 0, 0, false
	for other, o := range opinions {
		switch {
		case other == id:
		case o.pending:
			open = true
		case o.told == nil:
		case o.has(id):
			yes++
		default:
			no++
		}
	}
	return verdict{member: !removed && (no == 0 || yes > no), open: open && no == 0}
}

// judgeServer judges a node of this one's own configuration: it is a member
// unless others that are ahead deny it, and unless this node is cut off from
// the majority, so that it can't know who is.
func (m *membership) judgeServer(id string, own Configuration, opinions map[string]opinion) verdict {
	yes, no, open := votes(id, own, opinions, false)
	if no > yes {
		return verdict{}
	}
	if m.isSteady() {
		return verdict{member: true}
	}
	agree := 0
	for voter := range own.Voters {
		o := opinions[voter]
		if voter == id || voter == m.link.config.NodeID || o.connected && (o.told.GetIndex() <= own.Index || o.has(id)) {
			agree++
		}
	}
	return verdict{member: agree > len(own.Voters)/2, open: open}
}

// votes counts which nodes of the own configuration that know a newer one have
// id in it, and which have not. Trusted: those that are themselves denied by
// the others do not count.
func votes(id string, own Configuration, opinions map[string]opinion, trusted bool) (yes, no int, open bool) {
	for other, o := range opinions {
		if _, ok := own.Servers[other]; !ok || other == id {
			continue
		}
		open = open || o.pending
		if o.told.GetIndex() <= own.Index || trusted && isDenied(other, own, opinions) {
			continue
		}
		if o.has(id) {
			yes++
		} else {
			no++
		}
	}
	return yes, no, open
}

func isDenied(id string, own Configuration, opinions map[string]opinion) bool {
	yes, no, _ := votes(id, own, opinions, false)
	return no > yes
}
