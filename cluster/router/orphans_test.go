package router

import (
	"strings"
	"testing"
	"testing/synctest"

	"simpd/cluster/accounts"
)

// Accounts whose source is not configured any more are counted for an operator,
// by the node that leads, until the source is there again.
func TestAccountsOfSourcesThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{"corp", accounts.Table}, "n1", "n2")
		s.raiseSchema()
		d.set(func() { d.passwords["erik"], d.passwords["off"] = "right", "right" })
		for _, name := range []string{"dora", "erik", "off"} {
			s.mustCheck(name, "n1")
		}
		s.must(setDisabled("off", true))
		n1, n2 := s.nodes["n1"], s.nodes["n2"]
		n1.config.Leads, n2.config.Leads = always, func() bool { return false }
		expect := func(n *node, want ...string) {
			t.Helper()
			problems := n.SourceProblems()
			if len(problems) != len(want) {
				t.Errorf("%v", problems)
				return
			}
			for i := range want {
				if !strings.Contains(problems[i], want[i]) {
					t.Errorf("%s, without %s", problems[i], want[i])
				}
			}
		}
		expect(n1)
		for _, n := range s.nodes {
			n.config.Sources.Replace(accounts.Set{
				Sources: map[string]accounts.Source{"staff": d}, Domains: map[string][]string{"example.com": {"staff", accounts.Table}},
			})
		}
		expect(n1, "accounts of example.com belong to the account source corp, which the accounts file does not name for that domain (any more): 2.")
		expect(n2)
		n1.config.Sources.Replace(accounts.Set{
			Sources: map[string]accounts.Source{"corp": d}, Domains: map[string][]string{"example.com": {"corp"}},
		})
		expect(n1)
	})
}
