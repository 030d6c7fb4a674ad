package server

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
)

// book is what senders were told and what recipients did, by id.
type book struct {
	mu       sync.Mutex
	told     map[string]protocol.Status
	accepted map[string]int // by clients that said 200
	seen     map[string]int
}

func (b *book) tell(id string, s protocol.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told[id] = s
}

func (b *book) see(id string, accepted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen[id]++
	if accepted {
		b.accepted[id]++
	}
}

// Rules 1 and 2 of section 6, with many clients on real sockets, some of which
// refuse, are silent, read slowly or go away: a 200 is only said of what was
// accepted, and a 4xx only of what was not; nothing arrives twice.
func TestNoOutcomeIsFalse(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secure), func(t *testing.T) {
			h := newHarbour(t, func(c *Config) {
				c.Insecure = true
				c.Backend.(*site).most = 1000
			})
			b := &book{told: map[string]protocol.Status{}, accepted: map[string]int{}, seen: map[string]int{}}
			var clients, senders sync.WaitGroup
			stop := make(chan struct{})
			for i := range 3 {
				clients.Go(func() { h.receive(b, secure, uint64(i), stop) })
			}
			for i := range 4 {
				senders.Go(func() { h.sendMany(b, secure, i) })
			}
			senders.Wait()
			close(stop)
			clients.Wait()
			b.check(t)
		})
	}
}

func (b *book) check(t *testing.T) {
	counts := map[protocol.Status]int{}
	for id, s := range b.told {
		counts[s]++
		if s == protocol.StatusOK && b.accepted[id] == 0 {
			t.Errorf("%s: 200, and nobody accepted it", id)
		}
		if s/100 >= 4 && b.accepted[id] > 0 {
			t.Errorf("%s: %d, and somebody accepted it", id, s)
		}
		if (s == protocol.StatusNotListening || s == protocol.StatusNotReading) && b.seen[id] > 0 {
			t.Errorf("%s: %d, and somebody has it", id, s)
		}
	}
	for id, n := range b.seen {
		if n > 1 {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
	t.Log(counts)
	if counts[protocol.StatusOK] < 100 || len(counts) < 3 {
		t.Errorf("too little happened to show anything: %v", counts)
	}
}

func (h *harbour) connect(secure bool) (net.Conn, error) {
	if secure {
		return tls.Dial("tcp", h.tls, h.trusted)
	}
	return net.Dial("tcp", h.plain)
}

// receive is one of three users, who connects again and again.
func (h *harbour) receive(b *book, secure bool, seed uint64, stop chan struct{}) {
	random := rand.New(rand.NewPCG(seed, 9))
	name := []string{"alice", "bob", "carol"}[seed]
	for {
		select {
		case <-stop:
			return
		default:
		}
		c, err := h.connect(secure)
		if err != nil {
			h.Error(err)
			return
		}
		h.receiveOn(b, c, name, random)
		_ = c.Close()
	}
}

// receiveOn answers messages for some time, each in one of the ways there are.
func (h *harbour) receiveOn(b *book, c net.Conn, name string, random *rand.Rand) {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "h HELLO version=SIMP/1.0\r\na AUTH mech=PLAIN data="+plainData(name, "secret")+"\r\n"); err != nil {
		return
	}
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "a 200") {
			if _, err := io.WriteString(c, "l LISTEN mode=exclusive\r\n"); err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(time.Duration(100+random.IntN(300)) * time.Millisecond))
		}
		var l protocol.Line
		if protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l) != nil || l.Verb != "MESSAGE" {
			continue
		}
		if _, err := in.Discard(l.Literal); err != nil {
			return
		}
		h.respond(b, c, &l, random)
	}
}

func (h *harbour) respond(b *book, c net.Conn, l *protocol.Line, random *rand.Rand) {
	id, _ := l.Get("id")
	switch random.IntN(20) {
	case 0:
		b.see(id, false)
		fmt.Fprintf(c, "%s 486 :no\r\n", l.Tag)
	case 1:
		b.see(id, false) // and no answer
	case 2:
		b.see(id, false)
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // reads nothing meanwhile
	default:
		b.see(id, true) // before it says so
		fmt.Fprintf(c, "%s 200\r\n", l.Tag)
	}
}

// sendMany sends messages of all sizes, some at a time.
func (h *harbour) sendMany(b *book, secure bool, who int) {
	random := rand.New(rand.NewPCG(uint64(who), 10))
	c, err := h.connect(secure)
	if err != nil {
		h.Error(err)
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(c)
	fmt.Fprintf(c, "h HELLO version=SIMP/1.0\r\na AUTH mech=PLAIN data=%s\r\n", plainData("alice", "secret"))
	for range 3 {
		if _, err := in.ReadString('\n'); err != nil {
			h.Error(err)
			return
		}
	}
	for round := range 12 {
		h.sendRound(b, c, in, fmt.Sprintf("%d-%d", who, round), random)
	}
}

func (h *harbour) sendRound(b *book, c net.Conn, in *bufio.Reader, prefix string, random *rand.Rand) {
	const window = 20
	for i := range window {
		entity := strings.Repeat("x", random.IntN(1<<random.IntN(15)))
		to := []string{"alice", "bob", "carol"}[random.IntN(3)]
		if _, err := fmt.Fprintf(c, "%d SEND to=%s@example.com id=%s-%d timeout=1 {%d}\r\n%s", i, to, prefix, i, len(entity), entity); err != nil {
			h.Error(err)
			return
		}
	}
	for range window {
		line, err := in.ReadString('\n')
		if err != nil {
			h.Error(err)
			return
		}
		var l protocol.Line
		if err := protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l); err != nil {
			h.Errorf("%q: %v", line, err)
			return
		}
		id, _ := l.Get("id")
		b.tell(id, l.Status)
	}
}
