package client

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"simpd/protocol"
)

// route is one routing connection, authenticated, from this site to another.
// Its reader is its only goroutine; the rest is guarded by the partner's lock.
type route struct {
	*opening // of the reader alone, but for Close
	p        *partner
	out      outbox

	open    map[string]*errand       // handed over and not answered, by tag
	openOf  map[protocol.Address]int // how many of them are for whom
	number  uint64                   // of the newest
	served  bool                     // it has answered something
	heard   time.Time                // when it last did
	began   time.Time
	soonest time.Time // when an answer is first missed; zero: none is
	leaving bool      // nothing more is handed over
	over    bool
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	memory  int       // octets that the account holds for the connection
	since   time.Time // of what strange counts
	strange int       // lines that nobody asked for
}

// Bounds on a routing connection.
const (
	maxOpen        = 900      // the other site takes 1024 requests
	maxUnsent      = 1 << 20  // octets that wait to be written
	maxRouteReply  = 64 << 10 // octets of replies that do
	maxLiteral     = 64 << 10 // nobody sends any here
	maxStrange     = 5000     // lines in a minute that nobody asked for
	strangeTime    = time.Minute
	routeIdle      = time.Minute     // of silence, before PING
	silenceTime    = 5 * time.Second // of a site that answers nothing, after an errand's time
	quitTime       = 5 * time.Second
	routeCost      = 32 << 10 // octets that a connection holds, without certificates
	certificateFor = 3        // times their octets: as they came, and parsed
	heardCost      = 512      // octets of a 100 line, as it is kept
)

// errSilent says that a site takes requests and answers nothing.
var errSilent = errors.New("the other site answers nothing")

// newRoute begins to read a connection, for which the account holds memory.
// p.mu is held.
func newRoute(p *partner, o *opening) *route {
	rt := &route{opening: o, p: p, open: make(map[string]*errand), openOf: make(map[protocol.Address]int), began: time.Now(), since: time.Now()}
	rt.ctx, rt.cancel = context.WithCancel(p.relay.ctx)
	rt.out.conn, rt.out.failed, rt.out.mostReplies = o.Conn, rt.end, maxRouteReply
	rt.memory = o.cost()
	rt.idle = routeIdle
	rt.silent = func() { _, _ = rt.out.put([]byte("ping PING\r\n")) }
	p.relay.wg.Go(rt.read)
	return rt
}

// cost returns what a connection holds in octets.
func (o *opening) cost() int {
	n := routeCost
	if o.tls != nil {
		n += certificateFor * chainOctets(o.tls)
	}
	return n
}

// read serves the connection to its end. What nobody asked for is read no
// faster than the account allows.
func (rt *route) read() {
	defer rt.cancel()
	for {
		l, body, err := rt.next(maxLiteral)
		if err != nil {
			rt.end(readError(err))
			_ = rt.out.flushed(context.Background()) // soon, as the connection is closed
			return
		}
		due := false
		if l.IsRequest() {
			rt.serve(l)
		} else {
			due = rt.answered(l)
		}
		if due {
			continue
		}
		if wait := rt.p.account.pace.spend(rt.length + len(body)); wait > 0 {
			sleep(rt.ctx, wait)
		}
	}
}

// end closes the connection; the first time counts.
func (rt *route) end(why error) {
	rt.p.mu.Lock()
	defer rt.p.unlock()
	rt.stop(why)
	rt.p.proceed()
}

// stop is end with p.mu held.
func (rt *route) stop(why error) {
	if rt.over {
		return
	}
	rt.over = true
	rt.cancel()
	rt.out.stop(why)
	_ = rt.Close()
	rt.p.relay.Logger.Debug("a connection to another site ended", "domain", rt.p.other, "why", why)
	rt.p.account.memory.Release(rt.memory)
	rt.p.lost(rt, why)
}

// hasRoom reports whether one more errand may be handed over.
func (rt *route) hasRoom() bool {
	return !rt.leaving && len(rt.open) < maxOpen && rt.out.unsent() < maxUnsent
}

// hasShare reports whether one more errand may be handed over for a user: one
// alone gets a quarter of what the other site takes at a time.
func (rt *route) hasShare(user protocol.Address) bool {
	n := rt.openOf[user]
	return n == 0 || user.IsZero() || (n+1)*3 <= maxOpen-len(rt.open)
}

// hand gives an errand to the connection; false: it takes none any more.
func (rt *route) hand(e *errand, now time.Time) bool {
	if size := rt.hello.size; e.verb == "SEND" && size > 0 && len(e.body) > size {
		rt.p.release(e)
		rt.p.finish(e, answer{failed: protocol.Outcome{Status: protocol.StatusTooLarge, Text: tooLarge(size).Text}})
		return true
	}
	tag := strconv.FormatUint(rt.number+1, 10)
	end, err := rt.out.put(e.encode(tag, now))
	if err != nil {
		return false
	}
	rt.number++
	e.number, e.end, e.handed, e.partial, e.heard = rt.number, end, now, 0, nil
	rt.open[tag] = e
	rt.openOf[e.share.user]++
	rt.soonest = earlier(e.missed(), rt.soonest)
	return true
}

// answered takes a response, and reports whether it was due.
func (rt *route) answered(l *protocol.Line) bool {
	p := rt.p
	p.mu.Lock()
	defer p.unlock()
	e := rt.open[l.Tag]
	switch {
	case e == nil:
		rt.count(l.Tag != "ping")
		return false
	case l.Status.Interim():
		return rt.partial(e, l)
	}
	rt.remove(l.Tag, e)
	rt.served, rt.heard = true, time.Now()
	final := *l
	final.Params = slices.Clone(l.Params)
	rt.conclude(e, answer{heard: e.heard, final: &final})
	p.leaveOld()
	p.proceed()
	return true
}

// partial takes one result of several, and reports whether it was due. One that
// was not, or for which the account has no room, ends the connection. p.mu is
// held.
func (rt *route) partial(e *errand, l *protocol.Line) bool {
	if l.Status != protocol.StatusPartial {
		rt.count(true)
		return false
	}
	if n := len(e.asked) * heardCost; e.kept == 0 && n > 0 {
		if !rt.p.account.memory.Reserve(n) {
			rt.fail(protocolError("what it answers takes too much memory"))
			return false
		}
		e.kept = n
	}
	if !e.take(l) {
		rt.fail(protocolError("it answers %s with more than was asked for", e.verb))
		return false
	}
	return true
}

// fail ends the connection, as the other site speaks wrongly. p.mu is held.
func (rt *route) fail(why error) {
	rt.stop(why)
	rt.p.proceed()
}

// remove takes an errand off those that are open.
func (rt *route) remove(tag string, e *errand) {
	delete(rt.open, tag)
	if rt.openOf[e.share.user]--; rt.openOf[e.share.user] <= 0 {
		delete(rt.openOf, e.share.user)
	}
}

// conclude gives an errand its answer. p.mu is held.
func (rt *route) conclude(e *errand, a answer) {
	rt.p.release(e)
	if e.apply != nil {
		e.apply(a)
	}
	rt.p.finish(e, a)
}

// count counts lines that nobody asked for; too many end the connection. p.mu
// is held.
func (rt *route) count(strange bool) {
	if !strange {
		return
	}
	if now := time.Now(); now.Sub(rt.since) > strangeTime {
		rt.since, rt.strange = now, 0
	}
	if rt.strange++; rt.strange > maxStrange {
		rt.fail(protocolError("it says too much that nobody asked for"))
	}
}

// left returns what is not answered, in the order of its handing over, and
// forgets it.
func (rt *route) left() []*errand {
	all := make([]*errand, 0, len(rt.open))
	for _, e := range rt.open {
		all = append(all, e)
	}
	clear(rt.open)
	clear(rt.openOf)
	slices.SortFunc(all, func(a, b *errand) int { return int(a.number) - int(b.number) })
	return all
}

// overdue answers for the other site what it has not answered in time, and
// ends the connection if nothing at all is answered. p.mu is held.
func (rt *route) overdue(now time.Time) {
	rt.soonest = time.Time{}
	for tag, e := range rt.open {
		if now.Before(e.missed()) {
			rt.soonest = earlier(e.missed(), rt.soonest)
			continue
		}
		if now.Before(e.until.Add(silenceTime)) {
			rt.p.finish(e, answer{})
			rt.soonest = earlier(e.missed(), rt.soonest)
			continue
		}
		rt.remove(tag, e)
		rt.conclude(e, answer{})
		if rt.heard.Before(e.handed) {
			rt.stop(errSilent)
			return
		}
	}
}

// missed is when an answer that has not come is first missed: by who waits
// for it, and then by the connection.
func (e *errand) missed() time.Time {
	if e.told || e.apply != nil || e.done == nil {
		return e.until.Add(silenceTime)
	}
	return e.until.Add(late)
}

// quit leaves in good order, with nothing outstanding. p.mu is held.
func (rt *route) quit() {
	if rt.over || rt.leaving {
		return
	}
	rt.leaving = true
	_, _ = rt.out.put([]byte("quit QUIT\r\n"))
	time.AfterFunc(quitTime, func() { rt.end(ErrClosed) })
}

// serve takes what the other site asks and tells.
func (rt *route) serve(l *protocol.Line) {
	switch l.Verb {
	case "PING":
		rt.reply(l.Tag, protocol.StatusOK, "")
	case "PRESENCE":
		rt.presence(l)
	case "STALE", "FRESH":
		rt.doubt(l.Verb == "STALE")
	case "MOVE":
		rt.move()
	case "BYE":
		rt.end(byeError(l))
	default:
		rt.p.mu.Lock()
		rt.count(true)
		rt.p.unlock()
		rt.reply(l.Tag, protocol.StatusForbidden, "nothing is asked of a site on a connection of its own making")
	}
}

func (rt *route) reply(tag string, s protocol.Status, text string) {
	if tag == "*" {
		return
	}
	b := protocol.AppendResponse(nil, tag, s)
	if text != "" {
		b = protocol.AppendText(b, text)
	}
	if err := rt.out.reply(protocol.AppendEnd(b)); errors.Is(err, errNoRoom) {
		rt.end(err)
	}
}

// move makes another connection, and leaves this one once that serves.
func (rt *route) move() {
	p := rt.p
	p.mu.Lock()
	defer p.unlock()
	if p.route == rt && !p.connecting && !p.gone {
		p.connect()
	}
}
