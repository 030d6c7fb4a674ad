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

	open    map[string]*errand // handed over and not answered, by tag
	number  uint64             // of the newest
	served  bool               // it has answered something
	heard   time.Time          // when it last did
	began   time.Time
	soonest time.Time // when an answer is first missed; zero: none is
	leaving bool      // nothing more is handed over
	over    bool
	since   time.Time // of what strange counts
	strange int       // lines that nobody asked for
}

// Bounds on a routing connection.
const (
	maxOpen         = 900      // the other site takes 1024 requests
	maxUnsent       = 1 << 20  // octets that wait to be written
	maxLiteral      = 64 << 10 // nobody sends any here
	maxStrange      = 5000     // lines in a minute that nobody asked for
	strangeTime     = time.Minute
	routeIdle       = time.Minute     // of silence, before PING
	silenceTime     = 5 * time.Second // of a site that answers nothing, after an errand's time
	quitTime        = 5 * time.Second
	maxRoutePartial = 2000
)

// errSilent says that a site takes requests and answers nothing.
var errSilent = errors.New("the other site answers nothing")

// newRoute begins to read a connection. p.mu is held.
func newRoute(p *partner, o *opening) *route {
	rt := &route{opening: o, p: p, open: make(map[string]*errand), began: time.Now(), since: time.Now()}
	rt.out.conn, rt.out.failed = o.Conn, rt.end
	rt.idle = routeIdle
	rt.silent = func() { _, _ = rt.out.put([]byte("ping PING\r\n")) }
	p.relay.wg.Go(rt.read)
	return rt
}

// read serves the connection to its end.
func (rt *route) read() {
	for {
		l, _, err := rt.next(maxLiteral)
		if err != nil {
			rt.end(readError(err))
			_ = rt.out.flushed(context.Background()) // soon, as the connection is closed
			return
		}
		if l.IsRequest() {
			rt.serve(l)
		} else {
			rt.answered(l)
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
	rt.out.stop(why)
	_ = rt.Close()
	rt.p.relay.Logger.Debug("a connection to another site ended", "domain", rt.p.other, "why", why)
	rt.p.lost(rt, why)
}

// hasRoom tells whether one more errand may be handed over.
func (rt *route) hasRoom() bool {
	return !rt.leaving && len(rt.open) < maxOpen && rt.out.unsent() < maxUnsent
}

// hand gives an errand to the connection; false: it takes none any more.
func (rt *route) hand(e *errand, now time.Time) bool {
	if size := rt.hello.size; e.verb == "SEND" && size > 0 && len(e.body) > size {
		rt.p.finish(e, answer{failed: protocol.Outcome{Status: protocol.StatusTooLarge, Text: tooLarge(size).Text}})
		return true
	}
	tag := strconv.FormatUint(rt.number+1, 10)
	end, err := rt.out.put(e.encode(tag, now))
	if err != nil {
		return false
	}
	rt.number++
	e.number, e.end, e.handed, e.partial = rt.number, end, now, nil
	rt.open[tag] = e
	rt.soonest = earlier(e.missed(), rt.soonest)
	return true
}

// answered takes a response.
func (rt *route) answered(l *protocol.Line) {
	p := rt.p
	p.mu.Lock()
	defer p.unlock()
	e := rt.open[l.Tag]
	if e == nil {
		rt.count(l.Tag != "ping")
		return
	}
	r := response{*l}
	r.Params = slices.Clone(l.Params)
	if l.Status.Interim() {
		if len(e.partial) < maxRoutePartial {
			e.partial = append(e.partial, r)
		}
		return
	}
	delete(rt.open, l.Tag)
	rt.served, rt.heard = true, time.Now()
	rt.conclude(e, answer{partial: e.partial, final: &r.Line})
	p.leaveOld()
	p.proceed()
}

// conclude gives an errand its answer. p.mu is held.
func (rt *route) conclude(e *errand, a answer) {
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
		rt.stop(protocolError("it says too much that nobody asked for"))
		rt.p.proceed()
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
		delete(rt.open, tag)
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
	if _, err := rt.out.put(protocol.AppendEnd(b)); errors.Is(err, errNoRoom) {
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
