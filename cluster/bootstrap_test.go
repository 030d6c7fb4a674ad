package cluster

import (
	"strings"
	"testing"
)

// TestNodesThatExpectOtherNumbers: each says so, to operators too, and is cut off
// from nothing.
func TestNodesThatExpectOtherNumbers(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.setup = func(c *Config) {
			if c.BootstrapExpect = 3; c.NodeID == "n3" {
				c.BootstrapExpect = 5
			}
		}
		l.start("n1", "n2", "n3")
		l.eventually("n1 sees all", func() bool {
			why := l.nodes["n1"].Ready()
			return why != nil && strings.Contains(why.Error(), "of the others n2 expects 3, n3 expects 5; give all nodes the same bootstrap_expect")
		})
		l.eventually("n1 is told what n3 sees", func() bool {
			all := l.nodes["n1"].Status(t.Context())
			return len(all) == 3 && strings.Contains(all[2].Unready, "of the others n1, n2 expect 3; give all") && all[2].Contact == 0 && all[2].Member.BootstrapExpect == 5
		})
	})
}
