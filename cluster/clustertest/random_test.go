package clustertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

// TestRandomSites lets users come, go, send and watch on a site that nodes
// leave and come back to, and holds every outcome against every receipt. The
// environment may set how many seeds are tried (SIMPD_SEEDS) and the first
// (SIMPD_SEED).
func TestRandomSites(t *testing.T) {
	first, seeds := uint64(setting("SIMPD_SEED", 1)), setting("SIMPD_SEEDS", 12)
	total := map[protocol.Status]int{}
	for i := range seeds {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStory(t, seed)
				s.run(120)
				s.settle()
				s.check()
				for _, sent := range s.sent {
					total[sent.outcome.Status]++
				}
			})
		})
	}
	t.Logf("outcomes: %v", total)
	// A run in which little happened shows nothing.
	for _, status := range []protocol.Status{protocol.StatusOK, protocol.StatusIndeterminate, protocol.StatusNotListening, protocol.StatusUnavailable, protocol.StatusRefused} {
		if seeds >= 12 && total[status] < 3 {
			t.Errorf("only %d messages ended with %d", total[status], status)
		}
	}
}

func setting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// story is one random run.
type story struct {
	*Site
	t       *testing.T
	r       *rand.Rand
	users   []string
	clients []*Client // all that there ever were
	watches map[*Client]bool
	apart   int // a node that is isolated, or 0
	dead    int // one that is killed, or 0

	mu   sync.Mutex
	sent []*sent
}

// sent is a message that was sent, and what became of it.
type sent struct {
	id, to  string
	from    *Client
	number  int // counts those of from
	at      time.Time
	timeout time.Duration
	outcome protocol.Outcome
	took    time.Duration
	times   int // how often it had an outcome
}

func newStory(t *testing.T, seed uint64) *story {
	s := &story{t: t, r: rand.New(rand.NewPCG(seed, 7)), watches: map[*Client]bool{}}
	for i := range 5 {
		s.users = append(s.users, fmt.Sprint("user", i))
	}
	c := Config{Nodes: 3, Users: s.users, Disk: seed%3 == 0, Secure: seed%5 == 0}
	if seed%4 == 0 {
		c.Nodes = 5
	}
	s.Site = New(t, c)
	return s
}

func (s *story) user() string { return s.users[s.r.IntN(len(s.users))] }

// run does so many things, one after the other.
func (s *story) run(steps int) {
	for range steps {
		switch n := s.r.IntN(100); {
		case n < 15:
			s.connect()
		case n < 20:
			s.disconnect()
		case n < 25:
			s.change()
		case n < 70:
			s.send()
		case n < 76:
			s.fault()
		case n < 82:
			<-time.After(rand.N(3 * time.Second))
		default:
			<-time.After(rand.N(50 * time.Millisecond))
		}
	}
}

// live returns a random client that is connected, or nil.
func (s *story) live() *Client {
	var live []*Client
	for _, c := range s.clients {
		if !c.Closed() {
			live = append(live, c)
		}
	}
	if len(live) == 0 {
		return nil
	}
	return live[s.r.IntN(len(live))]
}

func (s *story) connect() {
	up := s.Up()
	c, err := up[s.r.IntN(len(up))].Login(s.user())
	if err != nil {
		return // its node is far behind
	}
	s.clients = append(s.clients, c)
	answers := s.r.IntN(6)
	c.Answer(func(*protocol.Message) protocol.Status {
		return []protocol.Status{protocol.StatusOK, protocol.StatusOK, protocol.StatusOK, protocol.StatusOK, protocol.StatusRefused, 0}[answers]
	})
	listen, exclusive, watch := s.r.IntN(3) > 0, s.r.IntN(3) == 0, s.r.IntN(3) == 0
	whom := s.users[:1+s.r.IntN(len(s.users))]
	s.watches[c] = watch
	s.running.Go(func() {
		if listen {
			_, _, _ = c.Listen(protocol.ListenRequest{Exclusive: exclusive}) // it may fail: nodes are cut off
		}
		if watch {
			if _, err := c.Watch(whom...); err != nil {
				c.Close()
			}
		}
	})
}

// change has a client change what it shows, or listen no more.
func (s *story) change() {
	c := s.live()
	if c == nil {
		return
	}
	state, stop := protocol.Available+protocol.State(s.r.IntN(3)), s.r.IntN(4) == 0
	s.running.Go(func() {
		if stop {
			_ = c.Unlisten() // it may fail, as may SetState
			return
		}
		ctx, cancel := s.Within(protocol.RequestTimeout)
		defer cancel()
		_, _ = c.SetState(ctx, state, nil)
	})
}

func (s *story) disconnect() {
	if c := s.live(); c != nil {
		c.Close()
	}
}

func (s *story) send() {
	c, to := s.live(), s.user()
	if c == nil {
		return
	}
	for range 1 + s.r.IntN(5) {
		s.mu.Lock()
		m := &sent{id: c.NewID(), to: to, from: c, number: len(s.sent), at: time.Now(), timeout: time.Duration(1+s.r.IntN(10)) * time.Second}
		s.sent = append(s.sent, m)
		s.mu.Unlock()
		c.Send(to, m.id, "hello", m.timeout, func(o protocol.Outcome) {
			s.mu.Lock()
			defer s.mu.Unlock()
			m.outcome, m.took = o, time.Since(m.at)
			m.times++
		})
	}
}

// fault isolates or kills a node, or brings it back: one at a time, so that
// the site goes on.
func (s *story) fault() {
	switch {
	case s.apart != 0:
		s.Rejoin(s.apart)
		s.apart = 0
	case s.dead != 0:
		s.Start(s.dead)
		s.dead = 0
	case s.config.Disk && s.r.IntN(2) == 0:
		s.dead = 1 + s.r.IntN(s.config.Nodes)
		s.Kill(s.dead)
	default:
		s.apart = 1 + s.r.IntN(s.config.Nodes)
		s.Isolate(s.apart)
	}
}

// settle ends all faults and waits until nothing is under way.
func (s *story) settle() {
	if s.apart != 0 || s.dead != 0 {
		s.fault()
	}
	<-time.After(20 * time.Second)
	s.running.Wait()
	s.AwaitReady()
	s.AwaitSame()
	<-time.After(5 * time.Second)
	s.AwaitSame()
}

func (s *story) check() {
	s.checkOutcomes()
	s.checkReceipts()
	s.checkWatches()
	s.checkListeners()
}

// checkOutcomes: no outcome is false, missing or late.
func (s *story) checkOutcomes() {
	for _, m := range s.sent {
		if m.times != 1 {
			s.t.Errorf("%s has %d outcomes", m.id, m.times)
			continue
		}
		if m.took > m.timeout+time.Second {
			s.t.Errorf("%s: %d came after %v, with a timeout of %v", m.id, m.outcome.Status, m.took, m.timeout)
		}
		taken := false
		for _, c := range s.clients {
			taken = taken || c.who.User == Address(m.to) && c.Took(m.id)
		}
		switch status := m.outcome.Status; {
		case status == protocol.StatusOK && !taken:
			s.t.Errorf("%s: 200, and nobody has taken it", m.id)
		case status/100 >= 4 && taken:
			s.t.Errorf("%s: %v, and somebody has taken it", m.id, m.outcome)
		}
	}
}

// checkReceipts: nothing comes twice, to a stranger, or out of order.
func (s *story) checkReceipts() {
	byID := map[string]*sent{}
	for _, m := range s.sent {
		byID[m.id] = m
	}
	for _, c := range s.clients {
		last := map[*Client]int{}
		for _, id := range c.Got() {
			m := byID[id]
			if Address(m.to) != c.who.User {
				s.t.Errorf("%s came to %s", id, c.who.User)
			}
			if before, ok := last[m.from]; ok && before >= m.number {
				s.t.Errorf("%s came again, or after a later one", id)
			}
			last[m.from] = m.number
		}
	}
}

// checkWatches: who watches has seen each user's changes in order, and sees
// them as they are.
func (s *story) checkWatches() {
	for c, watch := range s.watches {
		if !watch || c.Closed() {
			continue
		}
		index := map[protocol.Address]uint64{}
		for _, n := range c.Notices() {
			if n.Index != 0 && n.Index <= index[n.Address] {
				s.t.Errorf("%s on node %d was told of %s at %d after %d", c.who.User, c.node.Number, n.Address, n.Index, index[n.Address])
			}
			index[n.Address] = max(index[n.Address], n.Index)
		}
		for _, u := range s.users {
			want := protocol.Deaf
			if l := c.node.Table.Listener(Address(u)); l != nil {
				want = l.Presence().State
			}
			if _, told := index[Address(u)]; told && c.Sees(u) != want {
				s.t.Errorf("%s on node %d sees %s %v, who is %v", c.who.User, c.node.Number, u, c.Sees(u), want)
			}
		}
	}
}

// checkListeners: whoever listens in the end is reached from every node.
func (s *story) checkListeners() {
	for _, u := range s.users {
		listens := s.Node(1).Table.Listener(Address(u)) != nil
		for i := 1; i <= s.config.Nodes; i++ {
			sender, err := s.Node(i).Login(s.users[0])
			if err != nil {
				s.t.Fatal(err)
			}
			got := sender.Say(u, "still there?")
			reached := got.Status != protocol.StatusNotListening && got.Status != protocol.StatusUnavailable
			if reached != listens {
				s.t.Errorf("in the end, from node %d to %s (who listens: %v): %v", i, u, listens, got)
			}
		}
	}
}
