package link

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
)

func key(b byte) []byte { return slices.Repeat([]byte{b}, 32) }

func ids(members []Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.ID)
	}
	return strings.Join(all, " ")
}

// sees reports whether gossip shows node i these members.
func (s *site) sees(i int, want string) bool { return ids(s.links[nodeID(i)].Members()) == want }

func TestNodesFindOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(3)
		for i := 1; i <= 3; i++ {
			c := s.config(i)
			c.Gossip.Keys = [][]byte{key(1)}
			c.Member = Member{Incarnation: uint64(i), ClientAddr: "chat.example.com:7467", ClientGuessed: true, SIMPSGuessed: true, SettingsSum: "sum", Version: "1.0", MinSchema: 1, MaxSchema: 2, BootstrapExpect: 3}
			s.open(c)
		}
		before := time.Now()
		s.connected(3)
		if took := time.Since(before); took > time.Second {
			t.Errorf("it took %v", took)
		}
		for i := 1; i <= 3; i++ {
			s.eventually(func() bool { return s.sees(i, "n1 n2 n3") }, "%d sees all", i)
		}
		got := s.links["n2"].Members()[2]
		want := Member{ID: "n3", Incarnation: 3, ClusterAddr: "10.0.0.3:7470", ClientAddr: "chat.example.com:7467", ClientGuessed: true, SIMPSGuessed: true, SettingsSum: "sum", Version: "1.0", MinSchema: 1, MaxSchema: 2, BootstrapExpect: 3}
		if got != want {
			t.Errorf("n3 is told as %+v", got)
		}
		if err := s.links["n3"].UpdateMember(func(m *Member) { m.Draining = true }); err != nil {
			t.Fatal(err)
		}
		s.eventually(func() bool { return s.links["n1"].Members()[2].Draining }, "the change is told")
	})
}

func TestStrangersDoNotBecomeMembers(t *testing.T) {
	for name, change := range map[string]func(c *Config){
		"no key":       func(c *Config) { c.Gossip.Keys = nil },
		"another key":  func(c *Config) { c.Gossip.Keys = [][]byte{key(9)} },
		"another site": func(c *Config) { c.Site = "other.example" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				for i := 1; i <= 3; i++ {
					c := s.config(i)
					c.Gossip.Keys = [][]byte{key(1)}
					if i == 3 {
						change(&c)
					}
					s.open(c)
				}
				s.connected(2)
				<-time.After(2 * time.Minute)
				if !s.sees(1, "n1 n2") || !s.sees(2, "n1 n2") || !s.sees(3, "n3") {
					t.Errorf("n1 sees %v, n3 sees %v", ids(s.links["n1"].Members()), ids(s.links["n3"].Members()))
				}
				if got := s.links["n1"].Connectivity("n3"); got != (Connectivity{Suspicion: Silent}) {
					t.Errorf("n1 speaks with n3: %+v", got)
				}
			})
		})
	}
}

func TestNetworksThatAreNotAllowedStayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for i := 1; i <= 3; i++ {
			c := s.config(i)
			if i < 3 {
				c.Gossip.Allowed = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/30"), netip.MustParsePrefix("::1/128")}
			}
			if i == 3 {
				c.Gossip.Transport.Shutdown()
				transport, err := s.network.Gossip("10.0.0.9:7471")
				if err != nil {
					t.Fatal(err)
				}
				c.Gossip.Transport = transport
			}
			s.open(c)
		}
		s.connected(2)
		<-time.After(time.Minute)
		if !s.sees(1, "n1 n2") {
			t.Errorf("n1 sees %v", ids(s.links["n1"].Members()))
		}
	})
}

func TestKeysAreChangedWithoutALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for i := 1; i <= 3; i++ {
			c := s.config(i)
			c.Gossip.Keys = [][]byte{key(1)}
			s.open(c)
		}
		s.connected(3)
		for _, keys := range [][][]byte{{key(1), key(2)}, {key(2), key(1)}, {key(2)}} {
			for i := 1; i <= 3; i++ {
				if err := s.links[nodeID(i)].SetKeys(keys); err != nil {
					t.Fatal(err)
				}
				<-time.After(5 * time.Second)
			}
		}
		<-time.After(time.Minute)
		for i := 1; i <= 3; i++ {
			if left := s.links[nodeID(i)].gossip.keys.GetKeys(); len(left) != 1 || string(left[0]) != string(key(2)) {
				t.Errorf("node %d still has %d keys", i, len(left))
			}
			if told := s.handlers[nodeID(i)].told(); slices.ContainsFunc(told, func(e string) bool { return strings.Contains(e, "silent") }) {
				t.Errorf("node %d was told %q", i, told)
			}
		}
		c := s.config(4)
		c.Gossip.Keys = [][]byte{key(1)}
		s.open(c)
		<-time.After(time.Minute)
		if !s.sees(1, "n1 n2 n3") || !s.sees(4, "n4") {
			t.Error("a node with the old key is in")
		}
		for name, keys := range map[string][][]byte{"none": nil, "a short one": {key(2), []byte("short")}} {
			if err := s.links["n1"].SetKeys(keys); err == nil {
				t.Errorf("keys are replaced by %s", name)
			}
		}
	})
}

func TestANodeThatLeavesIsNotSuspected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(3)
		if err := s.links["n3"].Leave(); err != nil {
			t.Fatal(err)
		}
		s.links["n3"].Close()
		s.eventually(func() bool { return s.sees(1, "n1 n2") && s.sees(2, "n1 n2") }, "it is gone")
		synctest.Wait()
		if told := s.handlers["n1"].told(); told[len(told)-1] != "left n3" {
			t.Errorf("n1 was told %q", told)
		}
		if got := s.links["n1"].Connectivity("n3"); got != (Connectivity{Suspicion: Silent}) {
			t.Errorf("n1 still calls it: %+v", got)
		}
		s.open(s.config(3))
		s.connected(3)
	})
}

func TestTwoHalvesFindOneAnotherAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(4)
		for _, a := range []int{1, 2} {
			for _, b := range []int{3, 4} {
				s.network.Cut(hostOf(a), hostOf(b))
				s.network.Cut(hostOf(b), hostOf(a))
			}
		}
		<-time.After(10 * time.Minute) // memberlist has long forgotten the other half
		if !s.sees(1, "n1 n2") || !s.sees(4, "n3 n4") {
			t.Fatalf("n1 sees %s", ids(s.links["n1"].Members()))
		}
		for _, a := range []int{1, 2} {
			for _, b := range []int{3, 4} {
				s.network.Heal(hostOf(a), hostOf(b))
				s.network.Heal(hostOf(b), hostOf(a))
			}
		}
		s.connected(4)
		s.eventually(func() bool { return s.sees(1, "n1 n2 n3 n4") && s.sees(4, "n1 n2 n3 n4") }, "all see all")
	})
}

func TestANameMayHaveSeveralAddressesAndChangeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		known := make(chan []netip.Addr, 1)
		known <- nil
		for i := 1; i <= 3; i++ {
			c := s.config(i)
			c.Gossip.Join = []string{"nodes.example.com:7471"}
			c.Gossip.lookup = func(_ context.Context, host string) ([]netip.Addr, error) {
				all := <-known
				known <- all
				if host != "nodes.example.com" || all == nil {
					return nil, &netError{}
				}
				return all, nil
			}
			s.open(c)
		}
		<-time.After(time.Minute)
		if !s.sees(1, "n1") {
			t.Fatal("they found one another without a name")
		}
		<-known
		known <- []netip.Addr{netip.MustParseAddr("10.0.0.77"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("10.0.0.2")}
		s.connected(3)
	})
}

type netError struct{}

func (*netError) Error() string { return "no such host" }

func TestASecondProcessOfTheSameIDGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		<-time.After(time.Minute)
		c := s.config(3)
		c.NodeID = "n2"
		second, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		second.SetConfiguration(Configuration{})
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-second.Fatal():
			if !strings.Contains(err.Error(), "10.0.0.2:7470 runs as node n2") {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Error("the second goes on")
		}
		select {
		case err := <-s.links["n2"].Fatal():
			t.Errorf("the first gives way: %v", err)
		case <-time.After(time.Minute):
		}
	})
}

func TestANodeComesBackAtAnotherAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(3)
		s.network.Kill(hostOf(2))
		s.links["n2"].Close()
		c := s.config(4)
		c.NodeID = "n2"
		l := s.open(c)
		s.eventually(func() bool {
			return s.links["n1"].Connectivity("n2").Connected && s.links["n3"].Connectivity("n2").Connected && l.Connectivity("n1").Connected
		}, "it is back")
		select {
		case err := <-l.Fatal():
			t.Errorf("it gives way to its own past: %v", err)
		default:
		}
	})
}

func TestANodeThatTellsTooMuchDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c := s.config(1)
		c.Member.ClientAddr = strings.Repeat("x", 500)
		l, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Gossip.Transport.Shutdown()
		defer l.Close()
		if err := l.Start(); err == nil || !strings.Contains(err.Error(), "512") {
			t.Errorf("it starts: %v", err)
		}
	})
}

func TestLostPacketsRaiseNoSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(5)
		s.network.Lose(30)
		<-time.After(3 * time.Minute)
		for id, h := range s.handlers {
			if told := h.told(); slices.ContainsFunc(told, func(e string) bool { return !strings.HasPrefix(e, "up") }) {
				t.Errorf("%s was told %q", id, told)
			}
		}
	})
}

func TestGossipAloneTakesNobodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.open(s.config(1))
		c := s.config(2)
		s.open(c)
		s.connected(2)
		c.Gossip.Transport.Shutdown()
		s.eventually(func() bool { return s.sees(1, "n1") }, "gossip loses n2")
		var o outcomes
		s.links["n1"].SendToNode("n2", session, message("m"), o.done("m"))
		s.eventually(func() bool { return o.status("m") == protocol.StatusOK }, "a message to n2 is delivered")
		if got := s.links["n1"].Connectivity("n2"); got.Suspicion != NotSuspected {
			t.Errorf("n2 %v", got)
		}
	})
}

func TestWhoDoesNotSayWhatItIsDoesNotBecomeAMember(t *testing.T) {
	l := &Link{config: Config{Site: "example.com", Lineage: func() *clusterv1.Lineage { return &clusterv1.Lineage{} }}}
	l.peers = newPeerSet(l)
	l.members = newMembership(l)
	g := newGossip(l)
	for name, c := range map[string]struct {
		site string
		cut  int
		ok   bool
	}{
		"a node of the site": {"example.com", 0, true},
		"of another site":    {"other.example", 0, false},
		"of none":            {"", 0, false},
		"a torn one":         {"example.com", 3, false},
	} {
		meta, err := (&Member{ClusterAddr: "10.0.0.1:7470"}).encode(c.site)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.NotifyAlive(&memberlist.Node{Name: "n2", Meta: meta[:len(meta)-c.cut]}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUpdateBeforeTheStart: what is to be told is kept until there is somebody to
// tell.
func TestUpdateBeforeTheStart(t *testing.T) {
	g := &gossip{link: &Link{config: Config{Site: "example.com", Lineage: func() *clusterv1.Lineage { return &clusterv1.Lineage{} }}}}
	g.link.gossip = g
	if err := g.link.UpdateMember(func(m *Member) { m.SettingsSum = "sum" }); err != errNotStarted || g.self.SettingsSum != "sum" {
		t.Errorf("%v, %+v", err, g.self)
	}
}
