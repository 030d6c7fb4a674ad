package api

import (
	"testing"

	simpv1 "simpd/proto/simp/v1"
)

// TestNoSiteYet: nodes that form no site have no majority to lose.
func TestNoSiteYet(t *testing.T) {
	const starting, down = simpv1.NodeState_NODE_STATE_STARTING, simpv1.NodeState_NODE_STATE_DOWN
	for _, tt := range []struct {
		position *simpv1.Position
		health   simpv1.Health
		summary  string
	}{
		{&simpv1.Position{}, simpv1.Health_HEALTH_NOT_FORMED, "no site has been formed yet: n1 expects 3, n2 expects 5, n3 has no bootstrap_expect, n4 does not answer"},
		{&simpv1.Position{History: "h"}, simpv1.Health_HEALTH_NO_MAJORITY, "the majority is lost: 0 of 0 voters; nothing can be changed"},
	} {
		resp := &simpv1.StatusResponse{Position: tt.position, Node: []*simpv1.NodeStatus{
			{Id: "n1", State: starting, BootstrapExpect: 3}, {Id: "n2", State: starting, BootstrapExpect: 5},
			{Id: "n3", State: starting}, {Id: "n4", State: down, BootstrapExpect: 3},
		}}
		assessSite(resp)
		if resp.Health != tt.health || resp.Summary != tt.summary {
			t.Errorf("%v, %q; want %v, %q", resp.Health, resp.Summary, tt.health, tt.summary)
		}
	}
}
