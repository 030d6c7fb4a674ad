package federation

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
	"simpd/protocol/wait"
)

// s2sConn is one authenticated routing connection to another site. Its reader
// is its only goroutine; the remoteDomain's lock guards the rest.
type s2sConn struct {
	*outbound.Conn // used by the reader only, except Close
	domain         *remoteDomain
	out            outbound.WriteQueue

	inflight         map[string]*s2sRequest   // sent and unanswered, by tag
	inflightByUser   map[protocol.Address]int // how many of them are for whom
	lastNumber       uint64                   // of the newest request
	hasAnswered      bool                     // anything at all
	lastHeard        time.Time                // when it last did
	connectedAt      time.Time
	nextTimeout      time.Time // of the requests in flight; zero: none
	leaving          bool      // nothing more is sent
	ended            bool
	ctx              context.Context // ends with the connection
	cancel           context.CancelFunc
	memory           int       // reserved of the registrant's memory
	unsolicitedSince time.Time // start of the period of unsolicited
	unsolicited      int       // unexpected lines
}

// Limits of a routing connection.
const (
	maxInflight       = 900      // the other site takes 1024 requests
	maxUnsent         = 1 << 20  // octets that wait to be written
	maxS2SReply       = 64 << 10 // octets of replies that do
	maxLiteral        = 64 << 10 // nobody sends any here
	maxUnsolicited    = 5000     // lines in a minute that nobody asked for
	unsolicitedTime   = time.Minute
	s2sIdle           = time.Minute     // of silence, before PING
	silenceTimeout    = 5 * time.Second // of a site that answers nothing, after a request's deadline
	quitTimeout       = 5 * time.Second
	s2sConnOctets     = 32 << 10 // octets that a connection holds, without certificates
	certificateFactor = 3        // times their octets: as they came, and parsed
	presenceOctets    = 512      // octets of a 100 line with a presence, as it is kept
	keyOctets         = 768      // octets of a 100 line with a key, as it is kept
)

// errSilent means that a site accepts requests and answers none.
var errSilent = errors.New("the other site answers nothing")

// errClosed is why a connection ended that this site has closed.
var errClosed = errors.New("the connection was closed")

// newS2SConn starts to read a connection, for which the registrant has
// reserved memory. The caller holds p.mu.
func newS2SConn(p *remoteDomain, o *outbound.Conn) *s2sConn {
	rt := &s2sConn{Conn: o, domain: p, inflight: make(map[string]*s2sRequest), inflightByUser: make(map[protocol.Address]int), connectedAt: time.Now(), unsolicitedSince: time.Now()}
	rt.ctx, rt.cancel = context.WithCancel(p.relay.ctx)
	rt.out.Init(o.Conn, maxS2SReply, rt.endWith)
	rt.memory = connMemory(o)
	o.LimitIdle(s2sIdle, &rt.out)
	p.relay.wg.Go(rt.readLoop)
	return rt
}

// connMemory returns the octets that a connection holds.
func connMemory(o *outbound.Conn) int {
	n := s2sConnOctets
	if o.TLS != nil {
		n += certificateFactor * outbound.ChainOctets(o.TLS)
	}
	return n
}

// readLoop handles what arrives until the connection ends. Unexpected lines
// are read no faster than the registrant's limit allows.
func (rt *s2sConn) readLoop() {
	defer rt.cancel()
	for {
		l, body, err := rt.ReadNext(maxLiteral)
		if err != nil {
			rt.endWith(outbound.ReadError(err))
			_ = rt.out.AwaitFlushed(context.Background()) // soon, as the connection is closed
			return
		}
		due := false
		if l.IsRequest() {
			rt.handleRequest(l)
		} else {
			due = rt.onResponse(l)
		}
		if due {
			continue
		}
		if pause := rt.domain.registrant.reads.spend(rt.LastLineLength() + len(body)); pause > 0 {
			wait.Sleep(rt.ctx, pause)
		}
	}
}

// endWith closes the connection. The first reason given is kept.
func (rt *s2sConn) endWith(why error) {
	rt.domain.mu.Lock()
	defer rt.domain.unlockAndCall()
	rt.stopLocked(why)
	rt.domain.advance()
}

// stopLocked is endWith for callers that hold the domain's lock.
func (rt *s2sConn) stopLocked(why error) {
	if rt.ended {
		return
	}
	rt.ended = true
	rt.cancel()
	rt.out.Stop(why)
	_ = rt.Close()
	rt.domain.relay.config.Logger.Debug("a connection to another site ended", "domain", rt.domain.remote, "error", why)
	rt.domain.registrant.memoryShare.Release(rt.memory)
	rt.domain.onConnLost(rt, why)
}

// hasRoom reports whether another request may be sent.
func (rt *s2sConn) hasRoom() bool {
	return !rt.leaving && len(rt.inflight) < maxInflight && rt.out.Unsent() < maxUnsent
}

// hasShare reports whether another request of a user may be sent. One user
// alone can have a quarter of the requests in flight.
func (rt *s2sConn) hasShare(user protocol.Address) bool {
	n := rt.inflightByUser[user]
	return n == 0 || user.IsZero() || (n+1)*3 <= maxInflight-len(rt.inflight)
}

// sendRequest sends a request. It returns false if the connection accepts no
// more.
func (rt *s2sConn) sendRequest(e *s2sRequest, now time.Time) bool {
	if why := rt.Hello.TooLarge(max(len(e.body), e.unsent)); why != "" {
		rt.domain.release(e)
		rt.domain.complete(e, s2sResponse{failed: protocol.Outcome{Status: protocol.StatusTooLarge, Text: why}})
		return true
	}
	tag := strconv.FormatUint(rt.lastNumber+1, 10)
	end, err := rt.out.Write(e.encode(tag, now))
	if err != nil {
		return false
	}
	rt.lastNumber++
	e.number, e.endOffset, e.sentAt, e.partial, e.presences, e.keys = rt.lastNumber, end, now, 0, nil, nil
	rt.inflight[tag] = e
	rt.inflightByUser[e.share.user]++
	rt.nextTimeout = wait.Earlier(e.timeoutAt(), rt.nextTimeout)
	return true
}

// onResponse handles a response, and reports whether it was expected.
func (rt *s2sConn) onResponse(l *protocol.Line) bool {
	p := rt.domain
	p.mu.Lock()
	defer p.unlockAndCall()
	e := rt.inflight[l.Tag]
	switch {
	case e == nil:
		rt.countUnsolicited(l.Tag != outbound.PingTag)
		return false
	case l.Status.Interim():
		return rt.onPartial(e, l)
	}
	rt.remove(l.Tag, e)
	rt.hasAnswered, rt.lastHeard = true, time.Now()
	final := *l
	final.Params = slices.Clone(l.Params)
	rt.completeLocked(e, s2sResponse{presences: e.presences, keys: e.keys, final: &final})
	p.quitOldConn()
	p.advance()
	return true
}

// onPartial handles one of several results, and reports whether it was
// expected. An unexpected one, or one for which the registrant has no memory,
// ends the connection. The caller holds the domain's lock.
func (rt *s2sConn) onPartial(e *s2sRequest, l *protocol.Line) bool {
	if l.Status != protocol.StatusPartial {
		rt.countUnsolicited(true)
		return false
	}
	if n := e.partialMemory(); e.reserved == 0 && n > 0 {
		if !rt.domain.registrant.memoryShare.Reserve(n) {
			rt.failLocked(outbound.ProtocolError("what it answers takes too much memory"))
			return false
		}
		e.reserved = n
	}
	if !e.addPartial(l) {
		rt.failLocked(outbound.ProtocolError("it answers %s with more than was asked for", e.verb))
		return false
	}
	return true
}

// failLocked ends the connection because the other site violates the
// protocol.
func (rt *s2sConn) failLocked(why error) {
	rt.stopLocked(why)
	rt.domain.advance()
}

// remove removes a request from those in flight.
func (rt *s2sConn) remove(tag string, e *s2sRequest) {
	delete(rt.inflight, tag)
	if rt.inflightByUser[e.share.user]--; rt.inflightByUser[e.share.user] <= 0 {
		delete(rt.inflightByUser, e.share.user)
	}
}

// completeLocked ends a request with its response.
func (rt *s2sConn) completeLocked(e *s2sRequest, a s2sResponse) {
	rt.domain.release(e)
	if e.apply != nil {
		e.apply(a)
	}
	rt.domain.complete(e, a)
}

// countUnsolicited counts unexpected lines; too many end the connection. The
// caller holds the domain's lock.
func (rt *s2sConn) countUnsolicited(strange bool) {
	if !strange {
		return
	}
	if now := time.Now(); now.Sub(rt.unsolicitedSince) > unsolicitedTime {
		rt.unsolicitedSince, rt.unsolicited = now, 0
	}
	if rt.unsolicited++; rt.unsolicited > maxUnsolicited {
		rt.failLocked(outbound.ProtocolError("it sends too much that was not requested"))
	}
}

// takeInflight removes and returns the requests in flight, in the order sent.
func (rt *s2sConn) takeInflight() []*s2sRequest {
	all := make([]*s2sRequest, 0, len(rt.inflight))
	for _, e := range rt.inflight {
		all = append(all, e)
	}
	clear(rt.inflight)
	clear(rt.inflightByUser)
	slices.SortFunc(all, func(a, b *s2sRequest) int { return int(a.number) - int(b.number) })
	return all
}

// expireInflight ends requests that the other site has not answered in time,
// and ends the connection if it answers nothing at all. The caller holds the
// domain's lock.
func (rt *s2sConn) expireInflight(now time.Time) {
	rt.nextTimeout = time.Time{}
	for tag, e := range rt.inflight {
		if now.Before(e.timeoutAt()) {
			rt.nextTimeout = wait.Earlier(e.timeoutAt(), rt.nextTimeout)
			continue
		}
		if now.Before(e.deadline.Add(silenceTimeout)) {
			rt.domain.complete(e, s2sResponse{})
			rt.nextTimeout = wait.Earlier(e.timeoutAt(), rt.nextTimeout)
			continue
		}
		rt.remove(tag, e)
		rt.completeLocked(e, s2sResponse{})
		if rt.lastHeard.Before(e.sentAt) {
			rt.stopLocked(errSilent)
			return
		}
	}
}

// timeoutAt returns when a missing response has to be handled next: first for
// the caller, and later for the connection.
func (e *s2sRequest) timeoutAt() time.Time {
	if e.answered || e.apply != nil || e.done == nil {
		return e.deadline.Add(silenceTimeout)
	}
	return e.deadline.Add(answerGrace)
}

// quitLocked sends QUIT. Nothing is in flight.
func (rt *s2sConn) quitLocked() {
	if rt.ended || rt.leaving {
		return
	}
	rt.leaving = true
	_, _ = rt.out.Write([]byte("quit QUIT\r\n"))
	time.AfterFunc(quitTimeout, func() { rt.endWith(errClosed) })
}

// handleRequest handles requests and notices of the other site.
func (rt *s2sConn) handleRequest(l *protocol.Line) {
	switch l.Verb {
	case "PING":
		rt.reply(l.Tag, protocol.StatusOK, "")
	case "PRESENCE":
		rt.onPresence(l)
	case "KEYS":
		rt.onKeys(l)
	case "STALE", "FRESH":
		rt.onStale(l.Verb == "STALE")
	case "MOVE":
		rt.onMove()
	case "BYE":
		rt.endWith(outbound.ByeError(l))
	default:
		rt.domain.mu.Lock()
		rt.countUnsolicited(true)
		rt.domain.unlockAndCall()
		rt.reply(l.Tag, protocol.StatusForbidden, "nothing is asked of a site on a connection of its own making")
	}
}

func (rt *s2sConn) reply(tag string, s protocol.Status, text string) {
	if err := rt.out.Reply(tag, s, text); errors.Is(err, outbound.ErrNoRoom) {
		rt.endWith(err)
	}
}

// onMove makes another connection, and leaves this one when that serves.
func (rt *s2sConn) onMove() {
	p := rt.domain
	p.mu.Lock()
	defer p.unlockAndCall()
	if p.conn == rt && !p.connecting && !p.closed {
		p.startConnect()
	}
}
