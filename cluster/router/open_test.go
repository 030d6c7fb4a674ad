package router

import (
	"testing"
	"testing/synctest"
)

// A verifier is unchecked if the account is older than this process, and not
// if its password was set since: all ways in check it.
func TestOldVerifiersAreUnchecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.must(putAccount("carol", 7))
		s.must(putAccount("dave", 7))
		for name, unchecked := range map[string]bool{"alice": true, "bob": true, "carol": false, "dave": false} {
			for id, n := range s.nodes {
				if c, known := n.Credentials(addr(name + "@example.com")); !known || c.Unchecked != unchecked {
					t.Errorf("%s on %s: unchecked %v, want %v", name, id, c.Unchecked, unchecked)
				}
			}
		}
	})
}
