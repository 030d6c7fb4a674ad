package bootstrap

import (
	"errors"
	"testing"
	"time"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
)

func expecting(expect int, ids ...string) (all []link.Member) {
	for _, id := range ids {
		all = append(all, link.Member{ID: id, BootstrapExpect: expect, ClusterAddr: id + ":7470"})
	}
	return all
}

// TestFormationSaysWhatIsMissing: which nodes are seen, what each expects, and
// what is missing.
func TestFormationSaysWhatIsMissing(t *testing.T) {
	for _, tt := range []struct {
		name string
		f    formation
		want string
	}{
		{"a node is missing", formation{id: "n1", expect: 3, others: expecting(3, "n2")},
			"waiting to form a site: 3 nodes with bootstrap_expect 3 are needed, and of the others n2 expects 3; 1 more must be started, and reach this one or be reached from here (join)"},
		{"none is found", formation{id: "n1", expect: 3, join: []string{"n2:7471", "n3:7471"}},
			"waiting to form a site: 3 nodes with bootstrap_expect 3 are needed, and no other node has been found at n2:7471, n3:7471; 2 more must be started, and reach this one or be reached from here (join)"},
		{"3, 3 and 5", formation{id: "n1", expect: 3, others: append(expecting(3, "n2"), expecting(5, "n3")...)},
			"waiting to form a site: 3 nodes with bootstrap_expect 3 are needed, and of the others n2 expects 3, n3 expects 5; give all nodes the same bootstrap_expect"},
		{"5, 3 and 3", formation{id: "n3", expect: 5, others: expecting(3, "n1", "n2")},
			"waiting to form a site: 5 nodes with bootstrap_expect 5 are needed, and of the others n1, n2 expect 3; give all nodes the same bootstrap_expect"},
		{"1 and join", formation{id: "n1", expect: 1, join: []string{"n2:7471"}, others: expecting(1, "n2")},
			"waiting to form a site: with bootstrap_expect 1 and join this node waits for a site that is there, and of the others n2 expects 1; to form one of this node alone, take join away; to form one together, give all nodes the same bootstrap_expect"},
		{"1 without join", formation{id: "n1", expect: 1, failed: errors.New("disk full")},
			"waiting to form a site: with bootstrap_expect 1 this node forms a site of its own, and no other node has been found, as join is not set; disk full"},
		{"no number", formation{id: "n1"},
			"waiting to form a site: bootstrap_expect is not set, so another node has to take this one in, and no other node has been found, as join is not set"},
		{"one does not answer", formation{id: "n1", expect: 2, others: expecting(2, "n2"), unanswered: map[string]error{"n2": errors.New("refused")}},
			"waiting to form a site: 2 nodes with bootstrap_expect 2 are needed, and of the others n2 expects 2; n2 is found by gossip, and does not answer at n2:7470 (refused)"},
		{"another forms it", formation{id: "n2", expect: 2, others: expecting(2, "n1"), promised: []string{"n1", "n2"}},
			"waiting to form a site: 2 nodes with bootstrap_expect 2 are needed, and of the others n1 expects 2; n1 is about to form it; it has agreed to form it with n1, n2"},
		{"it could not", formation{id: "n1", expect: 2, others: expecting(2, "n2"), failed: errors.New("asking n2: refused")},
			"waiting to form a site: 2 nodes with bootstrap_expect 2 are needed, and of the others n2 expects 2; asking n2: refused"},
		{"a site is there", formation{id: "n4", expect: 3, probes: []*clusterv1.ProbeResponse{{Node: "n1", HasState: true, Leader: "n2"}, {Node: "n5"}}},
			"waiting to be taken into the site by its leader n2, whose log says if something is in the way"},
		{"a site without a leader is there", formation{id: "n4", probes: []*clusterv1.ProbeResponse{{Node: "n1", HasState: true}}},
			"waiting to be taken into the site of n1, which has no leader at present"},
	} {
		if said := tt.f.String(); said != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, said, tt.want)
		}
	}
}

// TestFormationIsLoggedNowAndThen: not while nodes start, and then once a minute,
// however often something changes.
func TestFormationIsLoggedNowAndThen(t *testing.T) {
	w, begun, lines := formationWatch{}, time.Now(), 0
	for waited := time.Duration(0); waited < 2*time.Minute; waited += time.Second / 2 {
		if w.set(waited.String(), waited, begun.Add(waited)) {
			if lines++; waited < formationGrace {
				t.Errorf("a line after %v", waited)
			}
		}
	}
	if lines != 2 || w.reason() != "1m59.5s" {
		t.Errorf("%d lines, %q", lines, w.reason())
	}
}

// TestCopyIsNoPast: a process counts as another one once it has been heard for
// longer than one of the node's own past.
func TestCopyIsNoPast(t *testing.T) {
	w, begun := formationWatch{}, time.Now()
	for _, tt := range []struct {
		after time.Duration
		runs  bool
		want  bool
	}{
		{0, true, false}, {copyGrace - 1, true, false}, {copyGrace, false, false}, {copyGrace + 1, true, false}, {3 * copyGrace, true, true},
	} {
		if got := w.isCopied(tt.runs, begun.Add(tt.after)); got != tt.want {
			t.Errorf("after %v: %v", tt.after, got)
		}
	}
}
