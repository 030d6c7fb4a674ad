package cluster

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// second is another lab on the same network: its nodes have the ids and the
// keys of the first one's, and hosts and data of their own.
func (l *lab) second() *lab {
	s := &lab{
		t: l.t, network: l.network, nodes: make(map[string]*Node), fatal: make(map[string]error), expect: l.expect, dir: l.t.TempDir(), mortal: true,
		hosts: map[string]string{"n1": "10.0.1.1", "n2": "10.0.1.2", "n3": "10.0.1.3", "n4": "10.0.1.4", "n5": "10.0.1.5"},
	}
	return s
}

// copyData gives nodes of s a copy of the data that the first lab's have now.
func (l *lab) copyData(from *lab, ids ...string) {
	l.t.Helper()
	for _, id := range ids {
		must(l.t, copyDir(filepath.Join(l.dir, id), filepath.Join(from.dir, id)))
	}
}

func copyDir(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Mkdir(filepath.Join(to, name), 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
}

// joins has the nodes of s join those of another lab.
func (l *lab) joins(other *lab) {
	l.setup = func(c *Config) {
		for _, id := range []string{"n1", "n2", "n3"} {
			c.Link.Gossip.Join = append(c.Link.Gossip.Join, other.host(id)+":7471")
		}
	}
}

// undisturbed requires that a lab's nodes stay ready for d, with the leader and the
// epochs that they have, and in touch with one another.
func (l *lab) undisturbed(d time.Duration) {
	l.t.Helper()
	l.awaitReady()
	leader, epochs := l.leader().cfg.NodeID, map[string]uint64{}
	for id, n := range l.nodes {
		epochs[id] = n.Epoch()
	}
	for range d / (50 * time.Millisecond) {
		<-time.After(50 * time.Millisecond)
		for id, n := range l.nodes {
			if err := cmp.Or(n.Ready(), l.why(id)); err != nil || n.Epoch() != epochs[id] || n.Leader() != leader {
				l.t.Fatalf("%s: %v; its epoch is %d, was %d; the leader %q, was %q", id, err, n.Epoch(), epochs[id], n.Leader(), leader)
			}
			for other, at := range l.nodes {
				if c := n.link.Connectivity(other); other != id && (!c.Connected || n.link.AddrOf(other) != at.link.Addr()) {
					l.t.Fatalf("%s finds %s at %q: %+v", id, other, n.link.AddrOf(other), c)
				}
			}
		}
	}
}

// ends waits until a node has to end, and requires that it says why.
func (l *lab) ends(id, why string) {
	l.t.Helper()
	l.eventually(id+" ends", func() bool { return l.why(id) != nil })
	if err := l.why(id).Error(); !strings.Contains(err, why) {
		l.t.Errorf("%s ends because %q, not %q", id, err, why)
	}
}

// TestACopyOfANodeGivesWay: a node of a site works on while a second process
// runs on a copy of its data, which ends by itself and says why.
func TestACopyOfANodeGivesWay(t *testing.T) {
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprintf("leads=%v", leads), func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.expect, l.dir = 3, t.TempDir()
				l.start("n1", "n2", "n3")
				l.awaitReady()
				node := l.followers()[0]
				if leads {
					node = l.leader()
				}
				id := node.cfg.NodeID
				s := l.second()
				defer s.close()
				s.joins(l)
				s.copyData(l, id)
				s.start(id)
				l.undisturbed(20 * time.Second)
				s.ends(id, fmt.Sprintf("another process runs as node %s, at %s: this data directory is a copy of that one's", id, node.link.Addr()))
				s.kill(id)
				l.undisturbed(20 * time.Second)
			})
		})
	}
}

// TestAReplacedMachineIsLetIn: a machine that has fallen silent, without ending
// its connections, is replaced at another address by one with its data. The site
// takes that for the node as soon as nobody hears the old one any more.
func TestAReplacedMachineIsLetIn(t *testing.T) {
	for _, leads := range []bool{false, true} {
		t.Run(fmt.Sprintf("leads=%v", leads), func(t *testing.T) {
			inLab(t, func(t *testing.T, l *lab) {
				l.expect, l.dir = 3, t.TempDir()
				l.start("n1", "n2", "n3")
				l.awaitReady()
				id := l.followers()[0].cfg.NodeID
				if leads {
					id = l.leader().cfg.NodeID
				}
				l.network.Isolate(l.host(id))
				s := l.second()
				defer s.close()
				s.joins(l)
				s.copyData(l, id)
				s.start(id)
				began := time.Now()
				s.eventually("the new machine is ready", func() bool {
					if why := s.why(id); why != nil {
						t.Fatalf("it ends: %v", why)
					}
					return s.nodes[id].Ready() == nil
				})
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestACopyThatWasFirstKeepsTheNode: where a copy is started while the original
// is down, the site takes it for the node. The original, which does not hold
// what its copy has promised since, is refused then, also once the copy is gone.
func TestACopyThatWasFirstKeepsTheNode(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		l.kill("n2")
		s := l.second()
		defer s.close()
		s.joins(l)
		s.copyData(l, "n2")
		l.hosts["n2"], s.hosts["n2"] = s.host("n2"), l.host("n2")
		s.start("n2")
		s.awaitReady()
		l.start("n2")
		l.ends("n2", "another process runs as node n2, at 10.0.0.2:7470: end one of the two")
		l.kill("n2")
		l.forgive("n2")
		if err := cmp.Or(s.nodes["n2"].Ready(), s.why("n2")); err != nil {
			t.Errorf("the copy: %v", err)
		}
		s.kill("n2")
		l.start("n2")
		l.ends("n2", "another process has run as node n2 since its data was copied")
		l.kill("n2")
		s.start("n2")
		s.awaitReady()
	})
}

// TestACopyOfAWholeSite: three copies beside three nodes give way to them.
func TestACopyOfAWholeSite(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		s := l.second()
		defer s.close()
		s.copyData(l, "n1", "n2", "n3")
		s.start("n1", "n2", "n3")
		l.undisturbed(20 * time.Second)
		for id := range s.nodes {
			s.ends(id, "this data directory is a copy of that one's")
			s.kill(id)
		}
		l.undisturbed(20 * time.Second)
	})
}

// TestACopyOfASiteInANetworkOfItsOwn: a copied site that came up in a network of
// its own, where the addresses of the original lead to it, is another site. Once
// they lead to the original, that is not harmed; and what is started again of the
// copy ends and says why.
func TestACopyOfASiteInANetworkOfItsOwn(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		s := l.second()
		defer s.close()
		var joined atomic.Bool
		s.setup = func(c *Config) {
			dial := c.Link.Dial
			c.Link.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				if !joined.Load() {
					addr = strings.Replace(addr, "10.0.0.", "10.0.1.", 1)
				}
				return dial(ctx, addr)
			}
			c.Link.Member.ClusterAddr = l.host(c.NodeID) + ":7470"
		}
		s.copyData(l, "n1", "n2", "n3")
		s.start("n1", "n2", "n3")
		s.awaitReady()
		joined.Store(true)
		l.undisturbed(20 * time.Second)
		for _, id := range []string{"n1", "n2", "n3"} {
			s.kill(id)
			s.start(id)
			l.undisturbed(10 * time.Second)
			s.ends(id, "another process runs as node "+id)
			l.kill(id)
			<-time.After(10 * time.Second)
			l.start(id)
			l.undisturbed(10 * time.Second)
		}
	})
}

// TestAnotherSiteOfTheSameName: a second site with the names and keys of the first
// one, which joins an address of it by mistake, stops nobody, and is told apart
// by gossip also while nodes of the first one are down.
func TestAnotherSiteOfTheSameName(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		s := l.second()
		defer s.close()
		s.start("n1", "n2", "n3")
		s.expect = 0
		s.start("n4")
		s.awaitReady()
		for _, id := range []string{"n1", "n2", "n3"} {
			s.kill(id)
		}
		s.joins(l)
		s.start("n1", "n2", "n3")
		s.awaitReady()
		l.undisturbed(20 * time.Second)
		for _, id := range []string{"n1", "n2", "n3"} {
			l.kill(id)
			<-time.After(30 * time.Second)
			for other, n := range l.nodes {
				for _, m := range n.Members() {
					if strings.HasPrefix(m.ClusterAddr, "10.0.1.") {
						t.Errorf("%s has %s for a member, at %s", other, m.ID, m.ClusterAddr)
					}
				}
			}
			l.start(id)
			l.undisturbed(10 * time.Second)
		}
		s.awaitReady()
		for id := range s.nodes {
			if err := s.why(id); err != nil {
				t.Errorf("%s of the second site ends: %v", id, err)
			}
		}
	})
}

// TestANewNodeOfAnIDThatRuns: a process without data that has the keys of a node
// which runs is not let in, and says why.
func TestANewNodeOfAnIDThatRuns(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		s := l.second()
		defer s.close()
		s.joins(l)
		s.start("n1", "n2", "n3")
		l.undisturbed(time.Second)
		s.eventually("all end", func() bool {
			for id := range maps.Clone(s.nodes) {
				if why := s.why(id); why != nil {
					t.Logf("%s: %v", id, why)
					s.kill(id)
				}
			}
			return len(s.nodes) == 0
		})
		l.undisturbed(20 * time.Second)
	})
}

// TestANewNodeThatCannotReachTheOther: that its id is in use, and not that its data
// was lost, it is told by the other nodes.
func TestANewNodeThatCannotReachTheOther(t *testing.T) {
	inLab(t, func(t *testing.T, l *lab) {
		l.expect, l.dir = 3, t.TempDir()
		l.start("n1", "n2", "n3")
		l.awaitReady()
		s := l.second()
		defer s.close()
		s.joins(l)
		for _, id := range []string{"n2", "n3"} { // n1 is the one that it finds
			l.network.Cut(s.host("n3"), l.host(id))
			l.network.Cut(l.host(id), s.host("n3"))
		}
		s.start("n3")
		s.ends("n3", "another process runs as node n3, at 10.0.0.3:7470")
		l.undisturbed(20 * time.Second)
	})
}
