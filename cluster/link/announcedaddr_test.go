package link

import (
	"testing"
	"testing/synctest"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// A node that comes back at another address is reached there as soon as it
// has called, and found there by gossip as soon as that lets go of the old one.
func TestAMovedNodeSaysWhereItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(3).up(3)
		for i := 1; i <= 3; i++ {
			s.eventually(func() bool { return s.sees(i, "n1 n2 n3") }, "%d sees all", i)
		}
		for _, id := range []string{"n1", "n3"} {
			s.links[id].SetConfiguration(configuration(1, 1, 2, 3))
		}
		s.network.Kill(hostOf(2))
		s.links["n2"].Close()
		moved := s.open(s.configAt(2, "10.0.1.2"))
		moved.SetConfiguration(configuration(1, 1, 2, 3))
		begin := time.Now()
		s.connected(3)
		if took := time.Since(begin); took > 1500*time.Millisecond {
			t.Errorf("it took %v until all reached it", took)
		}
		for _, id := range []string{"n1", "n3"} {
			if at := s.links[id].AddrOf("n2"); at != "10.0.1.2:7470" {
				t.Errorf("%s takes it to be at %s", id, at)
			}
			s.eventually(func() bool { return s.links[id].Members()[1].ClusterAddr == "10.0.1.2:7470" }, "%s is told by gossip", id)
		}
		if took := time.Since(begin); took > 25*time.Second {
			t.Errorf("it took %v until gossip knew", took)
		}
	})
}

// What a process says itself on a stream that is open counts for more than
// what gossip still has of its past.
func TestOldGossipDoesNotOverruleAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		l := s.open(s.config(1))
		heard := func(incarnation uint64, at string) {
			l.peers.onGossip("n2", &Member{ID: "n2", Incarnation: incarnation, ClusterAddr: at})
		}
		expect := func(want string) {
			t.Helper()
			at := ""
			if p := l.peers.get("n2"); p != nil {
				at = p.addr()
			}
			if at != want {
				t.Errorf("it is at %q, not at %q", at, want)
			}
		}
		heard(1, "10.0.0.2:7470")
		expect("10.0.0.2:7470")
		if at := l.AddrOf("n2"); at != "" {
			t.Errorf("gossip alone proves that it is at %q", at)
		}
		hello := &clusterv1.Hello{Incarnation: 2, ClusterAddr: "10.0.0.3:7470"}
		l.onAddrAnnounced("n2", hello)
		heard(1, "10.0.0.2:7470")
		expect("10.0.0.3:7470")
		l.onAddrWithdrawn("n2", &clusterv1.Hello{Incarnation: 1})
		heard(1, "10.0.0.2:7470")
		expect("10.0.0.3:7470")
		l.onAddrWithdrawn("n2", hello)
		expect("10.0.0.3:7470")
		heard(3, "10.0.0.4:7470")
		expect("10.0.0.4:7470")
		l.onAddrAnnounced("n2", &clusterv1.Hello{Incarnation: 4}) // of a version that does not say
		expect("10.0.0.4:7470")
		l.peers.onGossip("n2", nil)
		expect("")
	})
}
