package server

import (
	"crypto/tls"
	"strings"
	"sync/atomic"
	"time"

	"simpd/protocol"
)

// session is the conversation with one client. Its reader, a loop or a
// goroutine of its own (serve), does what need not wait; jobs do the rest. Those
// two never work on the conversation at a time: what stands here without a
// lock is theirs.
type session struct {
	out    outbox // first: see there
	server *Server
	conn   conn // what out.wire runs over
	in     inbox
	jobs   jobs
	ledger ledger
	usage  usage
	vigil  vigil
	alarm  alarm
	input  input
	pace   pace

	admitted *admitted
	tls      func() tls.ConnectionState // nil without TLS

	closing atomic.Bool // the last line is written or nothing can be
	logging atomic.Bool // AUTH is not answered
	proved  atomic.Bool // AUTH succeeded

	transport protocol.Transport
	greeted   bool            // HELLO was answered
	routed    bool            // this is counted as a routing connection of client.Domain
	failures  uint8           // logins, at most maxFailures
	login     *login          // between AUTH and its final response
	quit      string          // the tag of QUIT
	client    protocol.Client // User and Domain are set by AUTH
	// ownAddressed are the site's domains that a routing connection has
	// addressed; nil: none.
	ownAddressed atomic.Pointer[[]string]
	user         User
}

// longAgo, as a deadline, ends a read that waits.
var longAgo = time.Unix(1, 0)

// Session's methods may be called from any goroutine and never wait.
var _ protocol.Session = (*session)(nil)

func (s *session) Client() protocol.Client { return s.client }

// Deliver takes a message, as protocol.Inbox says.
func (s *session) Deliver(m *protocol.Message, done func(protocol.Outcome)) {
	d, status := s.in.take(m, done)
	if status != 0 {
		s.server.metrics.dropped(status)
		done(protocol.Outcome{Status: status})
		return
	}
	s.wakeAt(m.Deadline)
	if d != nil {
		s.out.put(frame{delivery: d})
		s.out.flush()
	}
}

// Notify shows a change of presence.
func (s *session) Notify(n *protocol.Notice) {
	s.out.show(s.server.notices.show(n))
}

// Unlistened ends listening, as another session displaced this one.
func (s *session) Unlistened(why string) {
	all, listened := s.in.stop()
	if !listened {
		return
	}
	s.say(protocol.AppendText(protocol.AppendRequest(nil, "*", "UNLISTENED"), why))
	if len(all) > 0 {
		s.out.purge()
		s.jobs.aside(func() { settle(all) })
	}
}

// Stale and Fresh bracket the time in which presence can't be known.
func (s *session) Stale() { s.sayState(protocol.AppendRequest(nil, "*", "STALE")) }

// Fresh ends what Stale began.
func (s *session) Fresh(index uint64) {
	s.sayState(protocol.AppendInt(protocol.AppendRequest(nil, "*", "FRESH"), "index", index))
}

func (s *session) sayState(line []byte) {
	s.out.putState(protocol.AppendEnd(line))
	s.out.flush()
}

// Move asks the client to go to another node. The place in to does not fit a
// WebSocket, where it is left out.
func (s *session) Move(to string, within time.Duration, why string) {
	b := protocol.AppendRequest(nil, "*", "MOVE")
	if to != "" && s.transport != protocol.WebSocket {
		b = protocol.AppendParam(b, "to", to)
	}
	b = protocol.AppendInt(b, "within", uint64(within/time.Second))
	s.say(protocol.AppendText(b, why))
}

// Bye says the last line and closes.
func (s *session) Bye(status protocol.Status, why string) {
	b := protocol.AppendRequest(nil, "*", "BYE")
	b = protocol.AppendInt(b, "status", uint64(status))
	s.last(protocol.AppendEnd(protocol.AppendText(b, why)))
}

// last writes the last line, and ends reading.
func (s *session) last(line []byte) {
	if s.closing.Swap(true) {
		return
	}
	s.out.put(frame{octets: line, last: true})
	s.out.flush()
	s.ledger.giveUp()
	_ = s.conn.SetReadDeadline(longAgo) // fails where nothing is read any more
}

// cut ends the connection without another word.
func (s *session) cut() {
	s.closing.Store(true)
	s.ledger.giveUp()
	_ = s.conn.Close() // whoever reads or writes learns of it
}

// say writes a notification.
func (s *session) say(line []byte) {
	s.out.say(protocol.AppendEnd(line))
}

// reply writes the lines of an answer; a notification gets none.
func (s *session) reply(tag string, lines []byte) {
	if strings.HasPrefix(tag, "*") {
		return
	}
	s.out.say(lines)
}

// answer ends r with the line that response began.
func (s *session) answer(r *request, line []byte) {
	s.reply(r.line.Tag, protocol.AppendEnd(line))
	s.ledger.settle(r.octets)
}

// answerState ends r with lines that say how presence is now.
func (s *session) answerState(r *request, lines []byte) {
	if r.line.Tag != "*" {
		s.out.putState(lines)
		s.out.flush()
	}
	s.ledger.settle(r.octets)
}

// ok ends r with 200 and nothing more.
func (s *session) ok(r *request) { s.answer(r, response(r, protocol.StatusOK)) }

// refuse ends r with an error.
func (s *session) refuse(r *request, err error) {
	e := s.server.toError(err)
	s.erred(e.Status)
	s.answer(r, s.refusalOf(r, e))
}

// refusalOf begins the line that refuses r. That of a SEND bears its id, as
// each answer to one does (SIMP.md, section 6).
func (s *session) refusalOf(r *request, e *protocol.Error) []byte {
	b := response(r, e.Status)
	if r.line.Verb == "SEND" && s.proved.Load() {
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
	if e.Status == protocol.StatusSlowDown {
		b = protocol.AppendInt(b, "retry", uint64(max(e.Retry, 1)))
	}
	if e.Text != "" {
		b = protocol.AppendText(b, e.Text)
	}
	return b
}
