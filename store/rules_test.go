package store_test

import (
	"testing"

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
		if len(rules) != 1 || rules[0].Shown().String() != "BOb@y.org" || rules[0].Who.String() != "bob@y.org" {
			t.Errorf("%s has %v", name, rules)
		}
		if decided, allow := table.Allowed(address("a@x.org"), address("bOB@y.org"), false, store.Messages); !decided || allow {
			t.Errorf("%s decides %v %v", name, decided, allow)
		}
	}
	other := newSite(t, store.Config{})
	other.say("account a@x.org", "rule a@x.org bob@y.org message=deny")
	if other.View().Digest() != digest {
		t.Error("the spelling is part of the digest")
	}
	if (protocol.Rule{Who: protocol.CanonicalPattern("*")}).Shown().String() != "*" {
		t.Error("a rule without a spelling of its own is not shown")
	}
}
