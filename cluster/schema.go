package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// schemaUpgradeDelay is how long all nodes must be able to read a schema
// before the log uses it. Until then each of them can go back to its previous
// version.
const schemaUpgradeDelay = 60 * time.Second

// upgradeSchema raises the log's schema once every node of Raft's
// configuration, up or down, can read it, while this node leads.
func (n *Node) upgradeSchema(ctx context.Context) {
	var a stabilityTimer
	tick := time.NewTicker(n.timeouts.healthInterval)
	defer tick.Stop()
	for {
		if to := commonSchema(n.table.Newest(), n.servers(), n.table.Node); a.due(to, n.table.Schema(), time.Now()) {
			n.proposeSchema(ctx, to)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) proposeSchema(ctx context.Context, schema uint32) {
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

// commonSchema returns the newest schema, up to newest, that all servers can
// read, as they reported when they last registered; 0 if one never did.
func commonSchema(newest uint32, servers []raft.Server, node func(id string) (store.Node, bool)) uint32 {
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
// configuration can read, as they announce it by gossip; 0 if one is not
// known.
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

// stabilityTimer waits until the same newer schema has been readable by all
// for long enough.
type stabilityTimer struct {
	to    uint32
	since time.Time
}

func (a *stabilityTimer) due(to, present uint32, now time.Time) bool {
	if to <= present {
		a.to = 0
		return false
	}
	if a.to != to {
		a.to, a.since = to, now
	}
	return now.Sub(a.since) >= schemaUpgradeDelay
}
