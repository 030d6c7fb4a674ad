package store_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// A rule for another site's user is shown as its owner gave it, and compares
// without case; the spelling alone is no change, and is in snapshots.
func TestRulesKeepTheirSpelling(t *testing.T) {
	s := newSite(t, store.Config{})
	s.say("account a@x.org", "rule a@x.org bob@y.org message=deny written=Bob@y.org")
	before, digest := s.Index(), s.View().Digest()
	s.apply(parseWords("rule a@x.org bob@y.org message=deny written=BOB@y.org").change())
	if s.Index() != before {
		t.Error("another spelling was a change")
	}
	s.say("rule a@x.org bob@y.org message=allow", "rule a@x.org bob@y.org message=deny written=BOb@y.org")
	for name, table := range map[string]*store.Table{"the table": s.Table, "a snapshot": restored(t, s.Table, store.Config{})} {
		rules := table.Rules(address("a@x.org"))
		if len(rules) != 1 || rules[0].Display().String() != "BOb@y.org" || rules[0].Who.String() != "bob@y.org" {
			t.Errorf("%s has %v", name, rules)
		}
		if decided, allow := table.Allowed(address("a@x.org"), address("bOB@y.org"), false, store.ActionMessage); !decided || allow {
			t.Errorf("%s decides %v %v", name, decided, allow)
		}
	}
	other := newSite(t, store.Config{})
	other.say("account a@x.org", "rule a@x.org bob@y.org message=deny")
	if other.View().Digest() != digest {
		t.Error("the spelling is part of the digest")
	}
	if (protocol.Rule{Who: protocol.CanonicalPattern("*")}).Display().String() != "*" {
		t.Error("a rule without a spelling of its own is not shown")
	}
}

// decides is the meaning of rules in the plainest words: each rule is asked.
func decides(rules []store.Rule, who protocol.Address, local bool, thing store.Action) (decided, allow bool) {
	verdict, best := protocol.Unset, 0
	for _, r := range rules {
		said, rank := r.Message, 1
		if thing == store.ActionPresence {
			said = r.Presence
		}
		if _, ok := r.Who.Domain(); ok {
			rank = 2
		}
		if _, ok := r.Who.Address(); ok {
			rank = 3
		}
		if said != protocol.Unset && rank > best && r.Who.Matches(who, local) {
			verdict, best = said, rank
		}
	}
	return best > 0, verdict == protocol.Allow
}

var (
	ruleLocals = []string{"bob", "Bob", "BOB", "zoë", "Zoë", "ZOË", "straße", "STRASSE", "ﬁ", `"a b"`, "a.b", "ＢＯＢ", "İ", "ı", "i"}
	ruleDomain = []string{"x.org", "y.org", "z.y.org"}
)

// TestRulesDecideAsEachOfThemSays: the look-up by keys decides as asking every
// rule does, whatever the spelling in which older versions stored them, also
// after a snapshot, and for the site's own users and others'.
func TestRulesDecideAsEachOfThemSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		local, domain := rapid.SampledFrom(ruleLocals), rapid.SampledFrom(ruleDomain)
		permission := rapid.Uint32Range(0, 2)
		table := store.New(store.Config{})
		apply := func(c *storev1.Change) {
			if _, err := table.Apply(&storev1.Entry{Batch: []*storev1.Batch{{Change: []*storev1.Change{c}}}}); err != nil {
				t.Fatal(err)
			}
		}
		apply(setList("a@x.org"))
		for range rapid.IntRange(0, 40).Draw(t, "rules") {
			pattern := local.Draw(t, "local") + "@" + domain.Draw(t, "domain")
			switch rapid.IntRange(0, 5).Draw(t, "kind") {
			case 0:
				pattern = "@" + domain.Draw(t, "domain")
			case 1:
				pattern = "*"
			}
			apply(&storev1.Change{Kind: &storev1.Change_SetRule{SetRule: &storev1.SetRule{
				Owner: "a@x.org", Pattern: pattern,
				Message:  storev1.Permission(permission.Draw(t, "message")),
				Presence: storev1.Permission(permission.Draw(t, "presence")),
			}}})
		}
		again := store.New(store.Config{})
		if err := again.Restore(bytes.NewReader(octets(table))); err != nil {
			t.Fatal(err)
		}
		for _, l := range ruleLocals {
			for _, d := range ruleDomain {
				compareRules(t, table, address(l+"@"+d))
				compareRules(t, again, address(l+"@"+d))
			}
		}
	})
}

func compareRules(t *rapid.T, table *store.Table, who protocol.Address) {
	owner := address("a@x.org")
	for _, local := range []bool{true, false} {
		for _, thing := range []store.Action{store.ActionMessage, store.ActionPresence} {
			decided, allow := table.Allowed(owner, who, local, thing)
			if d, a := decides(table.Rules(owner), who, local, thing); d != decided || a != allow {
				t.Fatalf("%v, local %v, thing %v: got %v %v, want %v %v by %v", who, local, thing, decided, allow, d, a, table.Rules(owner))
			}
		}
	}
}

// BenchmarkAllowed asks a list of 1,000 rules whether a stranger may send.
func BenchmarkAllowed(b *testing.B) {
	for name, local := range map[string]string{"ascii": "bob%d@y.org", "utf8": "zoë%d@y.org"} {
		b.Run(name, func(b *testing.B) {
			s := newSite(b, store.Config{})
			s.say("account a@x.org")
			for i := range protocol.MaxRules {
				s.say("rule a@x.org " + fmt.Sprintf(local, i) + " message=deny")
			}
			owner, who := address("a@x.org"), address("eve@y.org")
			b.ReportAllocs()
			for b.Loop() {
				if decided, _ := s.Allowed(owner, who, false, store.ActionMessage); decided {
					b.Fatal("decided")
				}
			}
		})
	}
}
