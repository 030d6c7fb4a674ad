package router

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// sender keeps one connection's messages to each recipient in order.
type sender struct {
	r *Router
	// isRemote marks a routing connection, which must learn nothing from
	// refusals.
	isRemote bool
	source   netip.Addr // of the connection; the zero Addr: a program sends
	verdict  atomic.Pointer[blockVerdict]
	program  string                 // that sends; "": none does
	meters   atomic.Pointer[meters] // of the party; nil: not made yet

	mu         sync.Mutex
	lastNumber uint64          // number of the newest delivery
	recent     *recipientQueue // of the newest delivery, active or not
	others     map[protocol.Address]*recipientQueue
}

// sendAll starts the delivery of r from one sender to each recipient.
func (s *sender) sendAll(r *protocol.SendRequest, from protocol.Address) {
	for i, to := range r.To {
		d := &delivery{sender: s, req: r, recipient: i}
		d.m = protocol.Message{
			From: from, To: to, ID: r.ID, Time: r.Received, Entity: r.Entity,
			Deadline: r.Deadline(), Repeatable: r.Repeatable,
		}
		if wait := s.takeContact(from, to); wait > 0 {
			s.refuse(r, i, slowDown("too many recipients in a short time that are new to you", wait))
			continue
		}
		d.startTrace()
		d.route()
	}
}

// refuse reports the outcome of a message that is not routed at all.
func (s *sender) refuse(r *protocol.SendRequest, i int, o protocol.Outcome) {
	s.r.countOutcome(o.Status)
	r.Done(i, o)
}

// Send delivers q for a program. q.From is set, and the caller has checked
// it. Send never blocks. Messages of different calls are not ordered.
func (r *Router) Send(q *protocol.SendRequest) {
	s, m := &sender{r: r, program: q.Program}, r.programMeters(q.Program)
	s.meters.Store(m)
	if wait := r.limits.Take(len(q.To), &m.messages); wait > 0 {
		for i := range q.To {
			s.refuse(q, i, slowDown("too many messages of this program", wait))
		}
		return
	}
	s.sendAll(q, q.From)
}

// delivery is one message on its way to one recipient: to each of their
// sessions, until one has acknowledged it or all have answered.
type delivery struct {
	m         protocol.Message
	sender    *sender
	req       *protocol.SendRequest
	recipient int

	queue  *recipientQueue
	number uint64                 // order among the sender's deliveries
	onEnd  func(protocol.Outcome) // nil if the message is not traced

	mu            sync.Mutex
	outstanding   int         // sessions that have not answered
	lookupPending bool        // a look-up is running, or the policy program is asked
	isUnjudged    bool        // the policy program may have to be asked first
	isHidden      bool        // the policy program says that nobody listens
	isPassed      atomic.Bool // the policy program says that it may pass, and this is not recorded yet
	ended         bool
	tried         []store.Session  // sessions that never receive it again
	triedBuf      [1]store.Session // avoids an allocation for tried
	outcome       protocol.Outcome // of the answers so far, the one with the highest precedence
	timer         *time.Timer
}

// route chooses the way of the message: to another site, or to the sessions
// that the table names. That there are none is believed only after a read
// barrier.
func (d *delivery) route() {
	r := d.sender.r
	local := r.Local(d.m.To)
	if !d.sender.enqueue(d, local || r.config.Policy != nil) {
		return
	}
	if d.needsVerdict() {
		d.lookupPending, d.isUnjudged = true, true
		d.sender.requestLookup(d)
		return
	}
	if !local {
		d.sendRemote()
		return
	}
	var buf [2]store.Session
	found := d.lookup(buf[:0])
	if len(found.routes) == 0 || !found.allowed {
		d.lookupPending = true
		d.sender.requestLookup(d)
		return
	}
	d.sendToSessions(found.routes)
}

// lookupResult is what the table says about a message's recipient.
type lookupResult struct {
	routes  []store.Session
	allowed bool // neither a block nor the recipient's rules forbid it
	known   bool // there is such a user
}

// lookup reads the table. It reads everything in every case, so that a
// refusal takes as long as the answer that it imitates (SIMP.md, section 8).
func (d *delivery) lookup(dst []store.Session) (s lookupResult) {
	r := d.sender.r
	r.lookups.Add(1)
	s.routes = r.config.Table.Routes(dst, d.m.To)
	s.allowed = d.sender.maySend(d.m.To, d.m.From)
	_, s.known = r.config.Table.Account(d.m.To)
	return s
}

// Lookups returns how often the table was read to route a message.
func (r *Router) Lookups() uint64 { return r.lookups.Load() }

func (d *delivery) sendRemote() {
	r := d.sender.r
	d.outstanding = 1
	if r.config.Relay == nil || d.m.To.IsLiteral() {
		d.onAnswer(protocol.Outcome{Status: protocol.StatusRemoteFailure, Text: "no route leads to " + d.m.To.Domain()})
		return
	}
	d.armTimeout()
	if d.isHidden || d.sender.blocks(d.m.From) {
		r.config.Relay.Refuse(&d.m, d.onAnswer)
		return
	}
	r.config.Relay.Send(&d.m, d.onRemoteAnswer)
}

// onRemoteAnswer is onAnswer for the other site. That a client was there is known
// from what it has answered, or may have.
func (d *delivery) onRemoteAnswer(o protocol.Outcome) {
	switch o.Status {
	case protocol.StatusOK, protocol.StatusIndeterminate, protocol.StatusRefused, protocol.StatusNotReading:
		d.establish()
	}
	d.onAnswer(o)
}

// sendToSessions hands the message to each of the sessions. Their answers may
// arrive before it returns.
func (d *delivery) sendToSessions(routes []store.Session) {
	r := d.sender.r
	d.sender.noteSent(d)
	d.establish()
	d.mu.Lock()
	d.outstanding += len(routes)
	if d.tried == nil {
		d.tried = d.triedBuf[:0]
	}
	d.tried = append(d.tried, routes...)
	d.mu.Unlock()
	for _, s := range routes {
		if s.Node == r.config.Node {
			r.deliverHere(s, &d.m, d.onAnswer) // lookup has just evaluated the rules
			continue
		}
		d.armTimeout()
		r.peers.SendToNode(s.Node, s, &d.m, d.onAnswer)
	}
}

// DeliverToSession hands m to session s of this node, with the contract of
// protocol.Inbox. The outcome is 480 if s is not here or the rules do not
// allow it.
func (r *Router) DeliverToSession(s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	if !r.mayReach(m.To, m.From) {
		done(protocol.Outcome{Status: protocol.StatusNotListening})
		return
	}
	r.deliverHere(s, m, done)
}

// deliverHere is DeliverToSession for a sender whom the rules allow.
func (r *Router) deliverHere(s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	u := r.users.receiverOf(s)
	if u == nil || s.Node != r.config.Node || u.client.User != m.To {
		done(protocol.Outcome{Status: protocol.StatusNotListening})
		return
	}
	if m.Trace != "" && r.config.Tracer != nil {
		done = r.config.Tracer.Received(m, s, done)
	}
	u.session.Deliver(m, done)
}

// onAnswer records the outcome at one session.
func (d *delivery) onAnswer(o protocol.Outcome) {
	d.mu.Lock()
	d.outstanding--
	if d.ended {
		d.mu.Unlock()
		return
	}
	if o.Status == protocol.StatusOK {
		d.finish(o)
		return
	}
	d.recordOutcomeLocked(o)
	if o.Status == protocol.StatusNotListening && !d.lookupPending && d.sender.r.Local(d.m.To) {
		// That binding counts as gone: the user may listen elsewhere by now.
		d.lookupPending = true
		d.mu.Unlock()
		d.sender.requestLookup(d)
		return
	}
	d.finishIfAnswered()
}

// finishIfAnswered finishes the delivery if nothing is outstanding. The
// caller holds d.mu, which it releases.
func (d *delivery) finishIfAnswered() {
	if d.outstanding > 0 || d.lookupPending {
		d.mu.Unlock()
		return
	}
	d.finish(d.outcome)
}

// finish reports the outcome to the sender. The caller holds d.mu, which it
// releases.
func (d *delivery) finish(o protocol.Outcome) {
	d.ended = true
	timer := d.timer
	d.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	d.sender.noteDone(d)
	if o.Text == "" {
		o.Text = o.Status.ExplainOutcome(d.m.To.String())
	}
	d.sender.r.countOutcome(o.Status)
	d.sender.r.metrics.Send.ObserveSince(d.m.Time)
	if d.onEnd != nil {
		d.onEnd(o)
	}
	d.req.Done(d.recipient, o)
}

// finishLookup continues after a read barrier. err is the error of the
// barrier, if it failed.
func (d *delivery) finishLookup(err error) {
	var buf [2]store.Session
	found := d.lookup(buf[:0])
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return
	}
	found.allowed = found.allowed && !d.isHidden
	routes := slices.DeleteFunc(found.routes, func(s store.Session) bool { return slices.Contains(d.tried, s) })
	switch {
	case err != nil:
		d.recordOutcomeLocked(protocol.Outcome{Status: protocol.StatusUnavailable, Text: noQuorumText})
	case found.allowed && len(routes) > 0 && !time.Now().Before(d.m.Deadline):
		d.recordOutcomeLocked(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "its time was over before it could be handed over"})
	case found.allowed && len(routes) > 0 && d.sender.wasOvertaken(d):
		d.recordOutcomeLocked(protocol.Outcome{Status: protocol.StatusUnavailable, Text: "its recipient moved, and a later message was there first"})
	case found.allowed && len(routes) > 0:
		d.mu.Unlock()
		d.sendToSessions(routes)
		d.mu.Lock()
	default:
		d.recordOutcomeLocked(protocol.Outcome{Status: d.notFoundStatus(found.known)})
	}
	d.lookupPending = false
	if d.ended {
		d.mu.Unlock()
		return
	}
	d.finishIfAnswered()
}

// noQuorumText is the reason that a node gives while it has no quorum.
const noQuorumText = "this node is not in touch with the majority of its site; try again, or another node"

// armTimeout makes sure that the sender is answered in time even if no node
// answers. Sessions of this node have a timeout in their own inbox.
func (d *delivery) armTimeout() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer == nil && !d.ended {
		d.timer = time.AfterFunc(time.Until(d.m.Deadline)+outcomeGrace, d.onTimeout)
	}
}

// outcomeGrace is how long after its deadline a message's outcome may still
// arrive from elsewhere. It is more than federation.answerGrace and less than
// server.answerGrace, which explains them.
const outcomeGrace = 500 * time.Millisecond

func (d *delivery) onTimeout() {
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return
	}
	if d.outstanding > 0 {
		d.recordOutcomeLocked(protocol.Outcome{Status: protocol.StatusIndeterminate})
	} else {
		d.recordOutcomeLocked(protocol.Outcome{Status: protocol.StatusUnavailable})
	}
	d.finish(d.outcome)
}
