package router

import (
	"slices"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// sender keeps the order of one connection's messages to each recipient.
type sender struct {
	r *Router
	// outsider: a routing connection, which learns nothing from refusals.
	outsider bool

	mu     sync.Mutex
	begun  uint64 // counts deliveries
	last   *lane  // that of the newest delivery, in use or not
	others map[protocol.Address]*lane
}

// send begins the delivery of r from one sender to each recipient.
func (s *sender) send(r *protocol.SendRequest, from protocol.Address) {
	for i, to := range r.To {
		d := &delivery{s: s, req: r, i: i}
		d.m = protocol.Message{
			From: from, To: to, ID: r.ID, Time: r.Received, Entity: r.Entity,
			Deadline: r.Deadline(), Repeatable: r.Repeatable,
		}
		if s.outsider && !s.r.strangers.admit(from, to) {
			s.r.count(protocol.StatusSlowDown)
			r.Done(i, protocol.Outcome{Status: protocol.StatusSlowDown, Text: "too many recipients in a minute that are new to you"})
			continue
		}
		d.trace()
		d.begin()
	}
}

// Send delivers q, whose From is set and allowed, for a program. It never
// blocks. Between two calls no order is kept.
func (r *Router) Send(q *protocol.SendRequest) { (&sender{r: r}).send(q, q.From) }

// delivery is one message on its way to one recipient: to each of their
// sessions, until one has acknowledged it or all have been heard.
type delivery struct {
	m   protocol.Message
	s   *sender
	req *protocol.SendRequest
	i   int

	lane   *lane
	number uint64                 // of the sender's deliveries, in the order sent
	traced func(protocol.Outcome) // nil: nobody follows it

	mu      sync.Mutex
	out     int  // sessions that have not answered
	looking bool // a look-up is open
	ended   bool
	tried   []store.Session  // it is never handed to one of them again
	one     [1]store.Session // what tried usually is
	worst   protocol.Outcome // of the answers so far, by rank
	timer   *time.Timer
}

// begin is the decision: there, here, elsewhere; and nowhere only once the
// look-up is confirmed.
func (d *delivery) begin() {
	r := d.s.r
	local := r.Local(d.m.To)
	if !d.s.takesOff(d, local) {
		return
	}
	if !local {
		d.relay()
		return
	}
	var buf [2]store.Session
	at := r.sight(buf[:0], &d.m)
	if len(at.routes) == 0 || !at.allowed {
		d.looking = true
		d.s.look(d)
		return
	}
	d.hand(at.routes)
}

// sight is what the table says of a message's way.
type sight struct {
	routes  []store.Session
	allowed bool // the recipient's rules let the sender send
	known   bool // there is such a user
}

// sight looks at the table. It looks at everything, whatever comes of it, so
// that a refusal costs what the answer costs that it imitates (section 8).
func (r *Router) sight(dst []store.Session, m *protocol.Message) (s sight) {
	r.looks.Add(1)
	s.routes = r.Table.Routes(dst, m.To)
	s.allowed = r.mayMessage(m.To, m.From)
	_, s.known = r.Table.Account(m.To)
	return s
}

// Looks returns how often the table was looked at for a message's way.
func (r *Router) Looks() uint64 { return r.looks.Load() }

func (d *delivery) relay() {
	r := d.s.r
	d.out = 1
	if r.Relay == nil || d.m.To.IsLiteral() {
		d.answer(protocol.Outcome{Status: protocol.StatusRemoteFailure, Text: "no route leads to " + d.m.To.Domain()})
		return
	}
	d.arm()
	r.Relay.Send(&d.m, d.answer)
}

// hand gives the message to each of the sessions. Their answers may come
// before it returns.
func (d *delivery) hand(routes []store.Session) {
	r := d.s.r
	d.s.handed(d)
	d.mu.Lock()
	d.out += len(routes)
	if d.tried == nil {
		d.tried = d.one[:0]
	}
	d.tried = append(d.tried, routes...)
	d.mu.Unlock()
	for _, s := range routes {
		if s.Node == r.Node {
			r.deliver(s, &d.m, d.answer) // sight has just looked at the rules
			continue
		}
		d.arm()
		r.Peers.Deliver(s.Node, s, &d.m, d.answer)
	}
}

// Deliver hands m to session s of this node; done as protocol.Inbox says,
// 480 where s is not here or may not have m.
func (r *Router) Deliver(s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	if !r.mayMessage(m.To, m.From) {
		done(protocol.Outcome{Status: protocol.StatusNotListening})
		return
	}
	r.deliver(s, m, done)
}

// deliver is Deliver for a sender whom the rules allow to send.
func (r *Router) deliver(s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	u := r.users.session(s)
	if u == nil || s.Node != r.Node || u.client.User != m.To {
		done(protocol.Outcome{Status: protocol.StatusNotListening})
		return
	}
	if m.Trace != "" && r.Tracer != nil {
		done = r.Tracer.Received(m, s, done)
	}
	u.session.Deliver(m, done)
}

// answer takes what one session said.
func (d *delivery) answer(o protocol.Outcome) {
	d.mu.Lock()
	d.out--
	if d.ended {
		d.mu.Unlock()
		return
	}
	if o.Status == protocol.StatusOK {
		d.end(o)
		return
	}
	d.note(o)
	if o.Status == protocol.StatusNotListening && !d.looking && d.s.r.Local(d.m.To) {
		// That binding counts as gone: the user may listen elsewhere by now.
		d.looking = true
		d.mu.Unlock()
		d.s.look(d)
		return
	}
	d.endIfHeard()
}

// endIfHeard ends the delivery once nothing is outstanding. d.mu is held, and
// released.
func (d *delivery) endIfHeard() {
	if d.out > 0 || d.looking {
		d.mu.Unlock()
		return
	}
	d.end(d.worst)
}

// note keeps the outcome that ranks first. d.mu is held.
func (d *delivery) note(o protocol.Outcome) {
	if d.worst.Status == 0 || rank(o.Status) < rank(d.worst.Status) {
		d.worst = o
	}
}

// rank orders outcomes as rule 7 of section 6 does: the first that is true of
// any session is said.
func rank(s protocol.Status) int {
	switch s {
	case protocol.StatusIndeterminate:
		return 0
	case protocol.StatusRefused, protocol.StatusWrongState:
		return 1
	case protocol.StatusNotReading:
		return 2
	case protocol.StatusNotListening:
		return 4
	}
	return 3 // a node that was not reached
}

// end tells the sender. d.mu is held, and released.
func (d *delivery) end(o protocol.Outcome) {
	d.ended = true
	timer := d.timer
	d.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	d.s.landed(d)
	if o.Text == "" {
		o.Text = explain(o.Status, d.m.To)
	}
	d.s.r.count(o.Status)
	d.s.r.Measures.Send.Since(d.m.Time)
	if d.traced != nil {
		d.traced(o)
	}
	d.req.Done(d.i, o)
}

// resolve goes on after a look-up: the table is as new as it was when the
// look-up began, or err says why that is not known.
func (d *delivery) resolve(err error) {
	r := d.s.r
	var buf [2]store.Session
	at := r.sight(buf[:0], &d.m)
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return
	}
	routes := slices.DeleteFunc(at.routes, func(s store.Session) bool { return slices.Contains(d.tried, s) })
	switch {
	case err != nil:
		d.note(protocol.Outcome{Status: protocol.StatusUnavailable, Text: cutOff})
	case at.allowed && len(routes) > 0 && !time.Now().Before(d.m.Deadline):
		d.note(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "its time was over before it could be handed over"})
	case at.allowed && len(routes) > 0 && len(d.tried) > 0 && d.s.overtaken(d):
		d.note(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "its recipient moved, and a later message was there first"})
	case at.allowed && len(routes) > 0:
		d.mu.Unlock()
		d.hand(routes)
		d.mu.Lock()
	default:
		d.note(protocol.Outcome{Status: d.nowhere(at.known)})
	}
	d.looking = false
	if d.ended {
		d.mu.Unlock()
		return
	}
	d.endIfHeard()
}

// cutOff is what a node says that can't ask the majority.
const cutOff = "this node is not in touch with the majority of its site; try again, or another node"

// nowhere says how a recipient who is confirmed not to listen is refused.
func (d *delivery) nowhere(known bool) protocol.Status {
	if !known && !d.s.outsider && len(d.tried) == 0 {
		return protocol.StatusUnknownAddress
	}
	return protocol.StatusNotListening
}

// arm sees to it that the sender is answered in time even if neither a node
// nor the majority answers. What watches a session of this node is its inbox.
func (d *delivery) arm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer == nil && !d.ended {
		d.timer = time.AfterFunc(time.Until(d.m.Deadline)+grace, d.expire)
	}
}

// grace is how long after its deadline a message's outcome may still come
// from elsewhere; rule 4 of section 6 allows a second.
const grace = 500 * time.Millisecond

func (d *delivery) expire() {
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return
	}
	if d.out > 0 {
		d.note(protocol.Outcome{Status: protocol.StatusIndeterminate})
	} else {
		d.note(protocol.Outcome{Status: protocol.StatusUnavailable})
	}
	d.end(d.worst)
}

// explain says an outcome to a person, where the status alone does not.
func explain(s protocol.Status, to protocol.Address) string {
	switch s {
	case protocol.StatusOK:
		return ""
	case protocol.StatusIndeterminate:
		return "handed over, but no answer came"
	case protocol.StatusUnknownAddress:
		return "there is no user " + to.String()
	case protocol.StatusNotListening:
		return to.String() + " is not listening"
	case protocol.StatusNotReading:
		return "the client of " + to.String() + " does not take what it is sent"
	case protocol.StatusRefused:
		return "the client of " + to.String() + " refused the message"
	case protocol.StatusWrongState:
		return "the id was used for another message"
	case protocol.StatusUnavailable:
		return "the node of " + to.String() + " can't be reached now; nothing was handed over"
	}
	return "the message was not delivered"
}

// maxStatus is the greatest status that an outcome may have.
const maxStatus = protocol.StatusVersion

// count counts an outcome for Outcomes.
func (r *Router) count(s protocol.Status) {
	if s >= 0 && s <= maxStatus {
		r.outcomes[s].Add(1)
	}
}

// Outcomes yields how many messages sent here ended with each status that
// there was, a message to several recipients counting for each.
func (r *Router) Outcomes(yield func(s protocol.Status, messages uint64)) {
	for s := range r.outcomes {
		if n := r.outcomes[s].Load(); n > 0 {
			yield(protocol.Status(s), n)
		}
	}
}
