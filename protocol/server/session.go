package server

import (
	"crypto/tls"
	"strings"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// session is the session of one client. The reader (the event loop, or
// serve's goroutine) decodes requests. It runs their handlers while the work
// queue is empty; otherwise the work queue's goroutine does. Fields without a
// lock belong to whichever runs the handlers, the decoder and the pace to the
// reader.
type session struct {
	conn     netio.Conn // first for locality: what sending needs stands first in it
	server   *Server
	in       inbox
	work     workQueue
	inflight inflight
	usage    usage
	activity activity
	timer    netio.Timer
	decoder  decoder
	pace     readPace

	connSlot *connSlot
	tls      func() tls.ConnectionState // nil without TLS

	state        sessionState
	transport    protocol.Transport
	minor        uint8           // both sides speak SIMP/1.minor, after HELLO
	authFailures uint8           // at most maxFailures
	auth         *authExchange   // between AUTH and its final response
	quitTag      string          // the tag of QUIT
	client       protocol.Client // AUTH sets User or Domain
	// ownAddressed holds the site's domains that a routing connection has
	// addressed; nil: none.
	ownAddressed atomic.Pointer[[]string]
	user         User
}

// Session's methods may be called from any goroutine and never wait.
var _ protocol.Session = (*session)(nil)

func (s *session) Client() protocol.Client { return s.client }

// Deliver delivers a message, with the contract of protocol.Inbox.
func (s *session) Deliver(m *protocol.Message, done func(protocol.Outcome)) {
	d, status := s.in.accept(m, done)
	if status != 0 {
		s.server.metrics.countDropped(status)
		done(protocol.Outcome{Status: status})
		return
	}
	s.wakeAt(m.Deadline)
	if d != nil {
		s.conn.SendItem(d)
	}
}

// Notify sends a change of presence.
func (s *session) Notify(n *protocol.Notice) {
	s.conn.SendUpdate(s.server.notices.render(n))
}

// Displaced ends listening because another session displaced this one.
func (s *session) Displaced(why string) {
	all, listened := s.in.stopListening()
	if !listened {
		return
	}
	s.sendNotification(protocol.AppendText(protocol.AppendRequest(nil, "*", "UNLISTENED"), why))
	if len(all) > 0 {
		s.conn.RemoveDropped()
		s.work.spawn(func() { reportAll(all) })
	}
}

// Stale begins a period in which presence can't be known. Fresh ends it.
func (s *session) Stale() { s.sendState(protocol.AppendRequest(nil, "*", "STALE")) }

// Fresh ends what Stale began.
func (s *session) Fresh(index uint64) {
	s.sendState(protocol.AppendInt(protocol.AppendRequest(nil, "*", "FRESH"), "index", index))
}

func (s *session) sendState(line []byte) {
	s.conn.SendState(protocol.AppendEnd(line))
}

// Move asks the client to move to another node. A WebSocket client can't use
// the address in to, so it is omitted.
func (s *session) Move(to string, within time.Duration, why string) {
	b := protocol.AppendRequest(nil, "*", "MOVE")
	if to != "" && s.transport != protocol.WebSocket {
		b = protocol.AppendParam(b, "to", to)
	}
	b = protocol.AppendInt(b, "within", uint64(within/time.Second))
	s.sendNotification(protocol.AppendText(b, why))
}

// Bye sends the last line and closes.
func (s *session) Bye(status protocol.Status, why string) {
	b := protocol.AppendRequest(nil, "*", "BYE")
	b = protocol.AppendInt(b, "status", uint64(status))
	s.sendFinal(protocol.AppendEnd(protocol.AppendText(b, why)), closeByServer)
}

// sendFinal sends the last line, and ends reading, unless the session is
// closing already.
func (s *session) sendFinal(line []byte, why closeReason) {
	if !s.state.close(why) {
		return
	}
	s.conn.SendLast(line)
	s.inflight.abandon()
	_ = s.conn.SetReadDeadline(netio.LongAgo) // fails where nothing is read any more
}

// Abort closes the connection at once.
func (s *session) Abort() {
	s.state.close(closeAborted)
	s.inflight.abandon()
	_ = s.conn.Close() // whoever reads or writes learns of it
}

// sendNotification sends an untagged line.
func (s *session) sendNotification(line []byte) {
	s.conn.Send(protocol.AppendEnd(line))
}

// reply sends the lines of a response. Requests tagged * get none.
func (s *session) reply(tag string, lines []byte) {
	if strings.HasPrefix(tag, "*") {
		return
	}
	s.conn.Send(lines)
}

// respond ends r with the line that response began.
func (s *session) respond(r *request, line []byte) {
	s.reply(r.line.Tag, protocol.AppendEnd(line))
	s.inflight.release(r.octets)
}

// respondState ends r with lines that describe the present presence.
func (s *session) respondState(r *request, lines []byte) {
	if r.line.Tag != "*" {
		s.conn.SendState(lines)
	}
	s.inflight.release(r.octets)
}

// respondOK ends r with a plain 200.
func (s *session) respondOK(r *request) { s.respond(r, response(r, protocol.StatusOK)) }

// refuse ends r with err; without one r is answered, or will be.
func (s *session) refuse(r *request, err error) {
	if err == nil {
		return
	}
	e := s.server.toError(err)
	s.countError(e.Status)
	s.respond(r, s.refusalLine(r, e))
}

// refusalLine begins the line that refuses r. That of a SEND carries its ID,
// like each response to one (SIMP.md, section 6).
func (s *session) refusalLine(r *request, e *protocol.Error) []byte {
	b := response(r, e.Status)
	if r.line.Verb == "SEND" && s.state.isAuthenticated() {
		if id, _, err := s.messageID(r); err == nil {
			b = protocol.AppendParam(b, "id", id)
		}
	}
	return appendRefusal(b, e)
}

func response(r *request, status protocol.Status) []byte {
	return protocol.AppendResponse(make([]byte, 0, 96), r.line.Tag, status)
}

func refusal(tag string, e *protocol.Error) []byte {
	return appendRefusal(protocol.AppendResponse(nil, tag, e.Status), e)
}

func appendRefusal(b []byte, e *protocol.Error) []byte {
	if e.Status == protocol.StatusSlowDown || e.Status == protocol.StatusUnavailable && e.Retry > 0 {
		b = protocol.AppendInt(b, "retry", uint64(max(e.Retry, 1)))
	}
	if e.Text != "" {
		b = protocol.AppendText(b, e.Text)
	}
	return b
}
