package cluster

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"simpd/store"
)

// TestReadByAll: who is in Raft's configuration counts, up or down, and
// nobody's word is made up.
func TestReadByAll(t *testing.T) {
	nodes := map[string]store.Node{
		"n1": {ID: "n1", MaxSchema: 9}, "n2": {ID: "n2", MaxSchema: store.NewestSchema, Down: true}, "old": {ID: "old", MaxSchema: 0},
	}
	find := func(id string) (store.Node, bool) { n, ok := nodes[id]; return n, ok }
	for _, tt := range []struct {
		servers []string
		want    uint32
	}{
		{[]string{"n1", "n2"}, store.NewestSchema},
		{[]string{"n1"}, store.NewestSchema}, // what this program itself can't read does not count
		{[]string{"n1", "old"}, 0},
		{[]string{"n1", "n2", "n3"}, 0},
	} {
		var servers []raft.Server
		for _, id := range tt.servers {
			servers = append(servers, raft.Server{ID: raft.ServerID(id)})
		}
		if got := commonSchema(store.NewestSchema, servers, find); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.servers, got, tt.want)
		}
	}
}

// TestAscent: the minute begins anew when a node goes back to an older version.
func TestAscent(t *testing.T) {
	var a stabilityTimer
	begun := time.Now()
	for _, step := range []struct {
		after time.Duration
		to    uint32
		want  bool
	}{
		{0, 1, false}, {time.Second, 2, false}, {30 * time.Second, 2, false}, {50 * time.Second, 1, false},
		{55 * time.Second, 2, false}, {70 * time.Second, 2, false}, {114 * time.Second, 2, false}, {115 * time.Second, 2, true},
		{120 * time.Second, 3, false}, {180 * time.Second, 3, true},
	} {
		if got := a.due(step.to, 1, begun.Add(step.after)); got != step.want {
			t.Errorf("after %v, to %d: %v", step.after, step.to, got)
		}
	}
}
