package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cmd/testkit/wire"
	"simpd/protocol"
	"simpd/protocol/wait"
)

// honest is people who do what people do: most stay connected, some come and
// go.
type honest struct {
	*lab
	counter
	ctx     context.Context
	end     context.CancelFunc
	working sync.WaitGroup

	mu     sync.Mutex
	spoken map[string]time.Duration // when each note was set that a neighbour has not been told yet
	next   int
}

const (
	// Of four users three stay, and one comes and goes.
	comeAndGo = 4

	connections = "CONNECTION" // counts those that ended before the user wanted

	thinkTime   = time.Second      // between requests of a user, on average
	stayTime    = 5 * time.Second  // of those who come and go
	noticeLimit = 10 * time.Second // by which a change has to be told
)

func honestUser(i int) string { return fmt.Sprintf("honest%d", i) }

func honestUsers(n int) (all []string) {
	for i := range n {
		all = append(all, honestUser(i))
	}
	return all
}

func (l *lab) startHonest() *honest {
	h := &honest{lab: l, spoken: map[string]time.Duration{}}
	h.ctx, h.end = context.WithCancel(context.Background())
	for i := range l.users {
		p := &person{honest: h, number: i, r: rand.New(rand.NewPCG(uint64(i), 12))}
		h.working.Go(p.live)
	}
	h.working.Go(h.findUntold)
	return h
}

// stop ends their work.
func (h *honest) stop() {
	h.end()
	h.working.Wait()
}

// findUntold counts notices that did not come in time.
func (h *honest) findUntold() {
	for h.rest(time.Second) {
		now := h.clock.Now()
		h.mu.Lock()
		for note, at := range h.spoken {
			if now-at > noticeLimit {
				delete(h.spoken, note)
				h.count("NOTICE", "none in 10 s", 0)
			}
		}
		h.mu.Unlock()
	}
}

// rest waits, and reports whether work goes on.
func (h *honest) rest(d time.Duration) bool {
	return wait.Sleep(h.ctx, d)
}

// person is one of them.
type person struct {
	*honest
	number int
	r      *rand.Rand
}

func (p *person) stays() bool { return p.number%comeAndGo != 0 }

// resident is somebody who stays, and so can be reached.
func (p *person) resident() int {
	for {
		if i := p.r.IntN(p.users); i%comeAndGo != 0 && i != p.number {
			return i
		}
	}
}

// neighbour returns the user who is watched: the next one who stays.
func (p *person) neighbour() int {
	i := (p.number + 1) % p.users
	for i%comeAndGo == 0 {
		i = (i + 1) % p.users
	}
	return i
}

func (p *person) live() {
	p.rest(time.Duration(p.r.Int64N(int64(2 * time.Second))))
	for p.ctx.Err() == nil {
		if !p.visit() && !p.rest(time.Second) {
			return
		}
	}
}

// visit is one connection, from its login to its end.
func (p *person) visit() bool {
	begun := p.clock.Now()
	c, err := p.enter()
	p.countLogin(err, p.clock.Now()-begun)
	if err != nil {
		return false
	}
	defer c.Close()
	stop := context.AfterFunc(p.ctx, c.HangUp)
	defer stop()
	for p.ctx.Err() == nil && !c.IsOver() {
		if !p.stays() && p.clock.Now()-begun > stayTime {
			return true
		}
		if p.rest(time.Duration(p.r.Int64N(int64(2 * thinkTime)))) {
			p.act(c)
		}
	}
	if p.ctx.Err() == nil {
		p.count(connections, "ended: BYE "+c.Bye(), 0)
	}
	return false
}

func (p *person) countLogin(err error, took time.Duration) {
	outcome := outcomeOf(err)
	if p.ctx.Err() == nil {
		p.count("LOGIN", outcome, took)
	}
}

// enter logs in, listens, and watches a neighbour.
func (p *person) enter() (*wire.Conn, error) {
	var mine atomic.Pointer[wire.Conn] // the reader has it only once Login has returned; nothing comes before LISTEN
	at := p.ground.node(p.number)
	c, err := wire.Login(wire.Config{
		Address: at.SIMPS, Local: honestSource(p.number), TLS: p.trust, Clock: p.clock,
		OnRequest: func(l *protocol.Line, _ []byte, when time.Duration) {
			if c := mine.Load(); c != nil {
				p.hear(c, l, when)
			}
		},
	}, "honest", p.ground.address(honestUser(p.number)), p.ground.Password)
	if err != nil {
		return nil, err
	}
	mine.Store(c)
	requests := []string{"LISTEN"}
	if p.stays() {
		requests = append(requests, "WATCH ima="+p.ground.address(honestUser(p.neighbour())))
	}
	for _, request := range requests {
		if _, err := c.Ask(request, nil); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: %w", request[:5], err)
		}
	}
	return c, nil
}

// hear takes what comes: messages, and notices.
func (p *person) hear(c *wire.Conn, l *protocol.Line, when time.Duration) {
	switch l.Verb {
	case "MESSAGE":
		c.Say(l.Tag, "200")
	case "PRESENCE":
		note, _ := l.Get("note")
		p.mu.Lock()
		at, waited := p.spoken[note]
		delete(p.spoken, note)
		p.mu.Unlock()
		if waited {
			p.count("NOTICE", "200", when-at)
		}
	}
}

// outcomeOf is the status that an error bears, or its kind.
func outcomeOf(err error) string {
	if err == nil {
		return "200"
	}
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return fmt.Sprint(int(e.Status))
	}
	if _, bye, said := strings.Cut(err.Error(), "(BYE "); said {
		return "BYE " + strings.TrimSuffix(bye, ")")
	}
	if errors.Is(err, wire.ErrGone) {
		return "connection ended"
	}
	return "no connection"
}
