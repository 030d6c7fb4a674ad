package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// device is one client of a user, who listens on one node and then on another.
type device struct {
	*lab
	r     *rand.Rand
	user  string
	alone bool // always exclusive, and the user's only device: for who holds the session
}

// manner is the way in which a device deals with messages during one life of it.
type manner struct {
	answer string        // empty: none
	slow   time.Duration // it does not read for so long after each message
}

func (l *lab) newDevice(user string, alone bool) *device {
	return &device{lab: l, r: l.random(), user: user, alone: alone}
}

// run listens here and there until ctx ends.
func (d *device) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !d.live(ctx) {
			wait.Sleep(ctx, time.Duration(20+d.r.IntN(200))*time.Millisecond)
		}
	}
}

// live is one connection. It returns false if none came about.
func (d *device) live(ctx context.Context) bool {
	o := &ear{device: d, manner: d.manner(), displaced: make(chan struct{}, 1)}
	c, err := d.dial(1+d.r.IntN(len(d.site.Nodes)), d.user, o.heard)
	if err != nil {
		d.refuse("login " + kind(err))
		return false
	}
	o.conn = c
	for range 1 + d.r.IntN(3) {
		if !o.listen(ctx) {
			break
		}
	}
	o.leave()
	return true
}

func (d *device) manner() manner {
	if d.alone {
		return manner{answer: "200"}
	}
	switch d.r.IntN(20) {
	case 0:
		return manner{answer: "486 :not now"}
	case 1:
		return manner{}
	case 2:
		return manner{answer: "200", slow: 30 * time.Millisecond}
	}
	return manner{answer: "200"}
}

// ear is a device on one connection.
type ear struct {
	*device
	manner
	conn      *conn
	displaced chan struct{}

	session *session // the present one, guarded by the history
}

// heard is called by the connection's reader.
func (e *ear) heard(l *protocol.Line, _ []byte, at time.Duration) {
	switch l.Verb {
	case "MESSAGE":
		e.message(l, at)
	case "UNLISTENED":
		e.history.locked(func() {
			if e.session != nil && e.session.Displaced == 0 {
				e.session.Displaced = at
			}
		})
		select {
		case e.displaced <- struct{}{}:
		default:
		}
	}
}

// message notes the receipt before it is acknowledged.
func (e *ear) message(l *protocol.Line, at time.Duration) {
	id, _ := l.Get("id")
	r := receipt{ID: id, At: at}
	if e.answer != "" {
		r.Said, _ = strconv.Atoi(e.answer[:3])
	}
	e.history.locked(func() {
		if s := e.session; s != nil {
			r.Session = s.Number
			r.Deaf = s.Displaced != 0 || s.Left != 0
		}
		e.history.Receipts = append(e.history.Receipts, r)
	})
	if e.answer != "" {
		e.conn.Say(l.Tag, e.answer)
	}
	if e.slow > 0 {
		time.Sleep(e.slow) // a slow reader is what this is
	}
}

// listen listens for a while. It returns false if the connection is of no
// more use.
func (e *ear) listen(ctx context.Context) bool {
	s := e.begin()
	a, err := e.conn.Ask(e.request(s), nil)
	e.history.locked(func() {
		if err != nil {
			s.Failed = a.Back
			return
		}
		s.Bound, s.Index = a.Back, number(a.Final(), "index")
	})
	if err != nil {
		e.refuse("LISTEN " + kind(err))
		return false
	}
	e.stay(ctx, s)
	if ctx.Err() != nil || e.conn.IsOver() || closed(e.conn.Moved) || e.r.IntN(4) == 0 {
		return false // it closes without a word
	}
	return e.unlisten(s)
}

func (e *ear) begin() *session {
	s := &session{User: e.user, Node: e.conn.Node, Conn: e.conn.Number, Call: e.clock.Now()}
	s.Exclusive = e.alone || e.r.IntN(4) == 0
	s.Number = int(e.sessions.Add(1))
	s.Token = "t" + strconv.Itoa(s.Number)
	select {
	case <-e.displaced:
	default:
	}
	e.history.locked(func() {
		e.session = s
		e.history.Sessions = append(e.history.Sessions, s)
	})
	return s
}

func (e *ear) request(s *session) string {
	mode := "shared"
	if s.Exclusive {
		mode = "exclusive"
	}
	return fmt.Sprintf("LISTEN state=%s note=%s mode=%s", e.someState(), s.Token, mode)
}

func (e *ear) someState() string { return []string{"available", "away", "busy"}[e.r.IntN(3)] }

// stay listens, and changes its state now and then.
func (e *ear) stay(ctx context.Context, s *session) {
	longest := 6000
	if e.alone {
		longest = 1500
	}
	until := time.After(time.Duration(100+e.r.IntN(longest)) * time.Millisecond)
	for i := 0; ; i++ {
		select {
		case <-until:
			return
		case <-e.displaced:
			return
		case <-e.conn.Gone:
			return
		case <-e.conn.Moved:
			return
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(100+e.r.IntN(1500)) * time.Millisecond):
			if !e.alone {
				e.state(s, i)
			}
		}
	}
}

func (e *ear) state(s *session, i int) {
	st := stated{Token: fmt.Sprintf("%s.%d", s.Token, i)}
	a, err := e.conn.Ask(fmt.Sprintf("STATE state=%s note=%s", e.someState(), st.Token), nil)
	st.Call = a.Call
	if err != nil {
		e.refuse("STATE " + kind(err))
	} else {
		st.Back, st.Index = a.Back, number(a.Final(), "index")
	}
	e.history.locked(func() { s.States = append(s.States, st) })
}

func (e *ear) unlisten(s *session) bool {
	e.history.locked(func() { s.Leave = e.clock.Now() })
	a, err := e.conn.Ask("UNLISTEN", nil)
	if err != nil {
		e.refuse("UNLISTEN " + kind(err))
		return errors.As(err, new(*protocol.Error)) && status(err) == 409 // it was displaced meanwhile
	}
	e.history.locked(func() { s.Left, s.LeftIndex = a.Back, number(a.Final(), "index") })
	return true
}

// leave closes the connection.
func (e *ear) leave() {
	at := e.clock.Now()
	e.history.locked(func() {
		if s := e.session; s != nil && s.Leave == 0 {
			s.Leave = at
		}
	})
	e.conn.Close()
	e.history.locked(func() {
		if s := e.session; s != nil {
			s.Gone = e.clock.Now()
		}
	})
}

func number(l *protocol.Line, key string) uint64 {
	v, _ := l.Get(key)
	n, _ := strconv.ParseUint(v, 10, 64)
	return n
}

func status(err error) int {
	if p, ok := errors.AsType[*protocol.Error](err); ok {
		return int(p.Status)
	}
	return 0
}

// kind names an error for the counts.
func kind(err error) string {
	if s := status(err); s != 0 {
		return strconv.Itoa(s)
	}
	return "lost"
}
