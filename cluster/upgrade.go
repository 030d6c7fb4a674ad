package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// raiseAfter is how long all nodes have to be able to read a schema before the
// log goes on to it: for so long every one of them may go back to what it ran
// before.
const raiseAfter = 60 * time.Second

// raise lets the log go on to a newer schema once every node of Raft's
// configuration, up or down, can read it, for as long as this node leads.
func (n *Node) raise(ctx context.Context) {
	var a ascent
	tick := time.NewTicker(n.pace.watch)
	defer tick.Stop()
	for {
		if to := readByAll(n.table.Newest(), n.servers(), n.table.Node); a.due(to, n.table.Schema(), time.Now()) {
			n.raiseTo(ctx, to)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) raiseTo(ctx context.Context, schema uint32) {
	results, err := n.propose(ctx, &storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: schema}}})
	switch {
	case err != nil:
		n.cfg.Logger.Warn("the log does not go on to a newer schema", "schema", schema, "error", err)
	case results[0].Refusal != store.None:
		n.cfg.Logger.Warn("the log does not go on to a newer schema", "schema", schema, "reason", results[0].Detail)
	case results[0].Applied:
		n.cfg.Logger.Info("the log goes on to a newer schema; older versions can't be part of this site any more", "schema", schema)
	}
}

// readByAll is the newest schema up to that one that all servers can read, as
// they said when they came up last; 0 if one never did.
func readByAll(newest uint32, servers []raft.Server, node func(id string) (store.Node, bool)) uint32 {
	for _, s := range servers {
		known, ok := node(string(s.ID))
		if !ok {
			return 0
		}
		newest = min(newest, known.MaxSchema)
	}
	return newest
}

// schemaOfMembers returns the newest schema that all nodes of Raft's
// configuration can read, as they announce it by gossip; 0 if one is not known.
func (n *Node) schemaOfMembers() uint32 {
	announced := map[string]uint32{n.cfg.NodeID: n.table.Newest()}
	for _, m := range n.link.Members() {
		announced[m.ID] = m.MaxSchema
	}
	newest := n.table.Newest()
	for _, s := range n.servers() {
		newest = min(newest, announced[string(s.ID)])
	}
	return newest
}

// ascent waits until the same newer schema has been read by all for long enough.
type ascent struct {
	to    uint32
	since time.Time
}

func (a *ascent) due(to, present uint32, now time.Time) bool {
	if to <= present {
		a.to = 0
		return false
	}
	if a.to != to {
		a.to, a.since = to, now
	}
	return now.Sub(a.since) >= raiseAfter
}
