package store

import (
	"testing"

	storev1 "simpd/proto/simp/store/v1"
)

// TestSchemaWaitsForAll: the site goes on to a schema when each node that is
// known, up or down, can read it. (No entry of a schema that this program
// itself can't read comes so far.)
func TestSchemaWaitsForAll(t *testing.T) {
	table := New(Config{})
	for id, newest := range map[string]uint32{"n1": 3, "n2": 2} {
		table.current.nodes.Set(id, &Node{ID: id, MinSchema: 1, MaxSchema: newest, Down: id == "n2"})
	}
	for _, step := range []struct {
		schema uint32
		want   Refusal
	}{{3, WrongSchema}, {2, None}, {1, WrongSchema}, {2, None}} {
		if r := table.setSchema(&storev1.SetSchema{Schema: step.schema}); r.Refusal != step.want {
			t.Errorf("to %d: %q, want %q", step.schema, r.Refusal, step.want)
		}
	}
	if table.Schema() != 2 || table.current.index != 1 {
		t.Errorf("schema %d after %d changes", table.Schema(), table.current.index)
	}
}
