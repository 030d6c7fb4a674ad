package main

import (
	"fmt"

	"simpd/cmd/testkit/wire"
)

// act is one request of a person's.
func (p *person) act(c *wire.Conn) {
	switch n := p.r.IntN(100); {
	case n < 35:
		p.ask(c, "PING", "PING", nil)
	case n < 75:
		p.ask(c, "SEND", "SEND to="+p.ground.address(honestUser(p.resident())), []byte("\r\nhow are you?"))
	case n < 90:
		p.ask(c, "QUERY", "QUERY ima="+p.ground.address(honestUser(p.resident())), nil)
	case n < 95:
		p.ask(c, "CONTACT", fmt.Sprintf("CONTACT ima=%s name=%d", p.ground.address(honestUser(p.resident())), n), nil)
	case p.stays():
		p.speak(c)
	default:
		p.ask(c, "PING", "PING", nil)
	}
}

// speak changes the note, which a neighbour is to be told.
func (p *person) speak(c *wire.Conn) {
	p.mu.Lock()
	p.next++
	note := fmt.Sprintf("note%d", p.next)
	p.spoken[note] = p.clock.Now()
	p.mu.Unlock()
	if p.ask(c, "STATE", "STATE state=busy note="+note, nil) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.spoken, note)
}

// ask makes a request and counts its outcome.
func (p *person) ask(c *wire.Conn, kind, request string, entity []byte) bool {
	a, err := c.Ask(request, entity)
	if p.ctx.Err() != nil {
		return false
	}
	outcome := outcomeOf(err)
	if err == nil && a.Final().Status != 200 {
		outcome = fmt.Sprint(int(a.Final().Status))
	}
	p.count(kind, outcome, a.Back-a.Call)
	return outcome == "200"
}
