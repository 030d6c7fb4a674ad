package main

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"simpd/protocol"
)

// storm is people who come and go, send and watch on three real nodes that
// are killed meanwhile. All that they see is written down, to be held against
// each other afterwards.
type storm struct {
	t         *testing.T
	nodes     []*testNode
	args      [][]string
	addresses []string // of SIMP, which stay the same

	calm     chan struct{} // closed: come to rest
	finished chan struct{} // closed: go home
	actors   sync.WaitGroup

	mu       sync.Mutex
	sent     map[string]sentOne     // by the message's id
	received map[string][]reception // by the message's id
	views    []*view
	sessions atomic.Uint64
	kills    int
}

// sentOne is what a sender was told of a message.
type sentOne struct {
	status protocol.Status // 201 where the sender's own connection ended
	stream string          // messages of one stream and session arrive in order
	number int
}

// reception is a message that came to a session, and what was answered.
type reception struct {
	session uint64
	at      int // the session's count of messages
	answer  string
}

const (
	stormUsers    = 12
	stormSenders  = 8
	stormWatchers = 6
	stormTime     = 12 * time.Second
	stormKills    = 4
)

func stormUser(i int) string { return fmt.Sprintf("u%d@example.com", i) }

// TestStorm: whatever happens, no outcome is false, no change is missed or
// comes twice, and in the end everybody sees how things are.
func TestStorm(t *testing.T) {
	s := &storm{t: t, calm: make(chan struct{}), finished: make(chan struct{}), sent: map[string]sentOne{}, received: map[string][]reception{}}
	s.nodes, s.args = startInsecureSite(t, t.TempDir())
	var users []string
	for i := range stormUsers {
		users = append(users, fmt.Sprintf("u%d", i))
	}
	s.nodes[0].addUsers(users...)
	for _, n := range s.nodes {
		s.addresses = append(s.addresses, n.address("simp-listen"))
	}
	history := s.recordHistory()
	for i := range stormUsers {
		s.actors.Go(func() { s.listen(i) })
		s.actors.Go(func() { s.listen(i) }) // a second session
	}
	for i := range stormSenders {
		s.actors.Go(func() { s.send(i) })
	}
	for range stormWatchers {
		s.actors.Go(s.watch)
	}
	s.killNodes()
	eventually(t, "enough has happened", s.enough)
	close(s.calm)
	s.settle(history)
	close(s.finished)
	join(s.t, "everybody goes home", &s.actors)
	s.checkOutcomes()
	s.checkViews(history)
}

// killNodes kills one node after another, and starts it again.
func (s *storm) killNodes() {
	pause := time.NewTicker(stormTime / (2 * stormKills))
	defer pause.Stop()
	for range stormKills {
		<-pause.C
		i := rand.IntN(len(s.nodes))
		s.nodes[i].signal(syscall.SIGKILL)
		s.nodes[i].exit()
		s.kills++
		<-pause.C
		s.nodes[i] = &testNode{start(s.t, "simpd", s.args[i]...), s.nodes[i].id, s.nodes[i].dir}
	}
	for _, n := range s.nodes {
		n.await(n.err, "msg=ready")
	}
}

// done reports whether the channel is closed.
func done(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// connect logs a user in on any node that takes them, or returns nil at the end.
func (s *storm) connect(user string, message func(protocol.Line, []byte) string, notice func(protocol.Line)) *talk {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !done(s.finished) {
		c, err := dialTalk(s.addresses[rand.IntN(len(s.addresses))], user, testPassword, message, notice)
		if err == nil {
			return c
		}
		<-again.C
	}
	return nil
}

// listen is a client of a user that listens, changes its state, goes and
// comes again on another node.
func (s *storm) listen(user int) {
	for !done(s.finished) {
		session, count := s.sessions.Add(1), 0
		c := s.connect(stormUser(user), func(m protocol.Line, _ []byte) string {
			count++
			return s.receive(session, count, param(m, "id"))
		}, nil)
		if c == nil {
			return
		}
		s.behave(c)
		c.close()
	}
}

// receive answers a message: mostly yes, sometimes no, sometimes not at all.
func (s *storm) receive(session uint64, count int, id string) string {
	answer := "200"
	switch rand.IntN(20) {
	case 0:
		answer = "486 :not now"
	case 1:
		answer = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received[id] = append(s.received[id], reception{session, count, answer})
	return answer
}

// behave listens with a connection until it is lost, or its owner goes elsewhere.
func (s *storm) behave(c *talk) {
	mode := "shared"
	if rand.IntN(6) == 0 {
		mode = "exclusive"
	}
	if _, err := c.ask("LISTEN mode="+mode, nil); err != nil {
		return
	}
	step := time.NewTicker(50 * time.Millisecond)
	defer step.Stop()
	for {
		select {
		case <-step.C:
			if !done(s.calm) && !s.stir(c) {
				return
			}
		case <-c.gone:
			return
		case <-s.finished:
			return
		}
	}
}

// stir does one thing that a listener may do; false: it goes.
func (s *storm) stir(c *talk) bool {
	request := ""
	switch rand.IntN(25) {
	case 0:
		return false
	case 1:
		request = "UNLISTEN"
	case 2, 3, 4:
		request = "STATE state=" + [...]string{"available", "away", "busy"}[rand.IntN(3)] + " note=" + strconv.Itoa(rand.IntN(1000))
	default:
		return true
	}
	if _, err := c.ask(request, nil); err != nil {
		return false // displaced, or the node is cut off
	}
	return request != "UNLISTEN"
}

// send sends numbered messages to anybody, and writes down what it is told.
func (s *storm) send(sender int) {
	for number := 0; !done(s.calm); {
		stream := fmt.Sprintf("s%d-%d", sender, s.sessions.Add(1))
		c := s.connect(stormUser(sender), nil, nil)
		if c == nil {
			return
		}
		for ; !done(c.gone) && !done(s.calm); number++ {
			id := fmt.Sprintf("%s.%d", stream, number)
			lines, err := c.request(fmt.Sprintf("SEND to=%s id=%s timeout=1", stormUser(rand.IntN(stormUsers)), id), []byte("\r\n"+id))
			one := sentOne{protocol.StatusIndeterminate, stream, number}
			if err == nil {
				one.status = lines[len(lines)-1].Status
			}
			s.mu.Lock()
			s.sent[id] = one
			s.mu.Unlock()
		}
		c.close()
	}
}
