package link

import (
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// remoteView is what another node has told about who belongs to the site.
type remoteView struct {
	isPending     bool // the node may yet tell: it was neither reached nor found to be down
	connected     bool // its stream is open and it was heard recently
	configuration *clusterv1.Configuration
}

// includes reports whether the node's configuration contains that ID.
func (o remoteView) includes(id string) bool {
	for _, s := range o.configuration.GetServer() {
		if s == id {
			return true
		}
	}
	return false
}

// remoteViews returns the views of all known nodes.
func (ps *peerSet) remoteViews() map[string]remoteView {
	all := map[string]remoteView{}
	for _, p := range ps.all() {
		all[p.id] = p.remoteView()
	}
	return all
}

func (p *peer) remoteView() remoteView {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := remoteView{connected: p.connectivity.Connected && time.Since(p.lastHeard) < silenceTimeout}
	o.isPending = !o.connected && p.connectivity.Suspicion == NotSuspected
	if o.connected {
		o.configuration = p.configuration
	}
	return o
}

// membershipVerdict is whether a node is a member. isOpen reports that a node
// that has not been heard from yet may change it.
type membershipVerdict struct{ isMember, isOpen bool }

// judge decides whether a node is a member.
func (m *membership) judge(id string, opinions map[string]remoteView) membershipVerdict {
	m.mu.Lock()
	known, own, removed := m.known, m.own, m.removed.Nodes[id]
	m.mu.Unlock()
	switch {
	case id == m.link.config.NodeID:
		return membershipVerdict{isMember: known}
	case !known:
		return membershipVerdict{isOpen: true}
	case len(own.Servers) == 0:
		return judgeAsOutsider(id, removed, opinions)
	}
	if _, ok := own.Servers[id]; ok {
		return m.judgeServer(id, own, opinions)
	}
	yes, no, open := countVotes(id, own, opinions, true)
	return membershipVerdict{isMember: yes > no, isOpen: yes <= no && open}
}

// judgeAsOutsider decides for a node without a configuration, which has
// nothing to protect and knows nobody: it accepts nodes that others do not
// deny.
func judgeAsOutsider(id string, removed bool, opinions map[string]remoteView) membershipVerdict {
	yes, no, open := 0, 0, false
	for other, o := range opinions {
		switch {
		case other == id:
		case o.isPending:
			open = true
		case o.configuration == nil:
		case o.includes(id):
			yes++
		default:
			no++
		}
	}
	return membershipVerdict{isMember: !removed && (no == 0 || yes > no), isOpen: open && no == 0}
}

// judgeServer decides for a node of this one's own configuration: it is a
// member unless others that are ahead deny it, and unless this node is cut
// off from the majority, so that it can't know.
func (m *membership) judgeServer(id string, own Configuration, opinions map[string]remoteView) membershipVerdict {
	yes, no, open := countVotes(id, own, opinions, false)
	if no > yes {
		return membershipVerdict{}
	}
	if m.isSteady() {
		return membershipVerdict{isMember: true}
	}
	agree := 0
	for voter := range own.Voters {
		o := opinions[voter]
		if voter == id || voter == m.link.config.NodeID || o.connected && (o.configuration.GetIndex() <= own.Index || o.includes(id)) {
			agree++
		}
	}
	return membershipVerdict{isMember: agree > len(own.Voters)/2, isOpen: open}
}

// countVotes counts how many nodes of the own configuration that know a newer
// one have id in it, and how many have not. If trusted is set, nodes that the
// others deny do not count.
func countVotes(id string, own Configuration, opinions map[string]remoteView, trusted bool) (yes, no int, open bool) {
	for other, o := range opinions {
		if _, ok := own.Servers[other]; !ok || other == id {
			continue
		}
		open = open || o.isPending
		if o.configuration.GetIndex() <= own.Index || trusted && isDenied(other, own, opinions) {
			continue
		}
		if o.includes(id) {
			yes++
		} else {
			no++
		}
	}
	return yes, no, open
}

func isDenied(id string, own Configuration, opinions map[string]remoteView) bool {
	yes, no, _ := countVotes(id, own, opinions, false)
	return no > yes
}
