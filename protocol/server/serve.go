package server

import (
	"context"
	"errors"
	"time"

	"simpd/protocol"
	"simpd/protocol/tlsrecord"
)

// converse holds the conversation, from the first octet to the last. Where a
// loop reads it returns once the conversation has begun.
func (s *session) converse() {
	if s.transport == protocol.TLS && !s.shakeHands() {
		s.server.forget(s)
		return
	}
	s.wakeAt(s.vigil.began.Add(proveTime))
	s.greet()
	if !s.handOver() {
		s.leave(s.readAll())
	}
}

// shakeHands begins with TLS.
func (s *session) shakeHands() bool {
	w, err := s.handshake()
	if err != nil {
		s.server.metrics.Handshakes.Add(1)
		s.out.fail()
		return false
	}
	s.out.thaw(w)
	return true
}

func (s *session) greet() {
	if g := s.server.config.Backend.Greeting(); g.Refuse != "" {
		s.Bye(protocol.StatusUnavailable, g.Refuse)
		return
	}
	b := protocol.AppendRequest(nil, "*", "HELLO")
	b = protocol.AppendParam(b, "version", protocol.Version)
	s.say(protocol.AppendParam(b, "domain", s.server.config.Domains[0]))
}

// ending is why a conversation is over.
type ending uint8

const (
	broken   ending = iota // nothing can be read any more
	finished               // the client has said all: QUIT, or a half-close
	closed                 // we have said the last line
)

// readAll reads until there is nothing more to read.
func (s *session) readAll() ending {
	for {
		octets, whole, err := s.input.takeLater()
		if octets == nil {
			octets, whole, err = s.out.wire.read()
		}
		s.server.gather.begin() // what this leads to is written once
		end, over := s.heard(octets, whole, err)
		s.server.gather.end()
		if over {
			return end
		}
		s.pause()
	}
}

// pause waits until reading may go on, or the session is closing.
func (s *session) pause() {
	for !s.closing.Load() {
		left := s.untilPaced()
		if left <= 0 && (s.pace.until == 0 || s.mayRead()) {
			return
		}
		time.Sleep(min(max(left, 0), 100*time.Millisecond))
	}
}

// heard takes what was read, and reports whether the conversation is over.
func (s *session) heard(octets []byte, whole bool, err error) (end ending, over bool) {
	switch {
	case s.closing.Load():
		return closed, true
	case isEnd(err):
		return finished, true
	case errors.Is(err, tlsrecord.ErrTooMany):
		s.endForRecords(err)
		return broken, true
	case err != nil:
		return broken, true
	}
	s.input.now = time.Now()
	requests := s.take(octets, whole)
	if s.input.counted > 0 || s.input.partial() || s.input.later != nil {
		s.input.count(&s.usage)
	}
	if s.quit != "" {
		return finished, true
	}
	s.wakeAt(s.vigil.heard(&s.input))
	s.spend(len(octets)-s.input.leftOver(), requests)
	return closed, s.closing.Load()
}

// take does what the octets ask, or as much of it as one turn allows: the rest
// is kept for the next. It returns how many requests count against the pace.
func (s *session) take(octets []byte, whole bool) (requests int) {
	t := turn{began: s.input.now}
	octets, r, err := s.input.next(octets)
	for r != nil {
		requests += s.paceCost(r)
		if again := s.handle(r, octets); !again {
			return requests
		}
		if len(octets) > 0 && (t.isOver() || s.isPressing(requests)) {
			s.input.keepLater(octets, whole)
			return requests
		}
		octets, r, err = s.input.next(octets)
	}
	if err == nil && whole && s.input.partial() {
		err = errors.New("a WebSocket message ends within a line or its literal")
	}
	if err != nil {
		s.reject(err)
	}
	return requests
}

// handle does what one line asks; false: nothing more is to be read.
func (s *session) handle(r *request, rest []byte) bool {
	if s.input.counted > 0 {
		s.input.count(&s.usage) // of r nothing: it counts for itself now
	}
	if r.line.Status != 0 {
		s.responded(r)
		r.free()
	} else {
		s.request(r, rest)
	}
	return s.quit == "" && !s.closing.Load()
}

// reject closes the connection, as the position in the stream is in doubt.
func (s *session) reject(err error) {
	switch {
	case err == errHTTP, err == errTLS:
		s.server.metrics.Foreign.Add(1)
		s.cut()
	case err == errTooLarge:
		s.Bye(protocol.StatusTooLarge, err.Error())
	default:
		s.Bye(protocol.StatusBadRequest, err.Error())
	}
}

// endForRecords closes the connection at once: TLS goes on no more.
func (s *session) endForRecords(err error) {
	s.server.metrics.EmptyRecords.Add(1)
	s.server.config.Logger.Warn("a connection is ended", "error", err, "source", s.client.Remote, "user", s.client.User)
	s.cut()
}

// leave ends what the session has with the site, answers what is to be
// answered, and closes.
func (s *session) leave(end ending) {
	if end == finished {
		s.finishQueue()
	}
	settle(s.in.end())
	if end == finished {
		s.finish()
	}
	s.closing.Store(true)
	s.ledger.end()
	s.jobs.stop()
	s.jobs.add(s.logout, time.Time{})
	s.jobs.close()
	if end != broken {
		s.linger()
	}
	_ = s.conn.Close() // nothing is lost with it any more
	s.out.close()
	s.server.wheel.stop(&s.alarm)
	s.input = input{counted: s.input.counted}
	s.input.count(&s.usage)
	s.usage.forget()
	s.server.forget(s)
}

func (s *session) logout(context.Context) {
	if s.user != nil {
		s.user.Close()
		s.user = nil
		s.forgetRoute()
	}
}

// finishQueue waits until what was asked before the end has taken effect: until
// then the session listens as it was asked to (SIMP.md, section 4). The messages
// that it was given are written; their answers are not waited for. A client that
// does not read is cut off meanwhile.
func (s *session) finishQueue() {
	done := make(chan struct{})
	if s.jobs.add(func(context.Context) { close(done) }, time.Time{}) {
		<-done
	}
	s.in.refuseNew()
	s.out.drained()
}

// finish answers all that is outstanding, and then QUIT.
func (s *session) finish() {
	s.jobs.add(func(context.Context) { s.cancelLogin() }, time.Time{})
	s.jobs.add(s.logout, time.Time{})
	s.ledger.settled()
	if s.quit == "" || s.quit == "*" { // nobody asked, or nobody wants to know
		s.last(nil)
		return
	}
	s.last(protocol.AppendEnd(protocol.AppendResponse(nil, s.quit, protocol.StatusOK)))
}

// linger lets the last line arrive: it drops what the client still sends.
func (s *session) linger() {
	s.out.drained()
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime)) // fails where there is nothing to wait for
	for dropped := 0; ; {
		octets, _, err := s.out.wire.read()
		if err != nil {
			return
		}
		if dropped += len(octets); dropped > lingerOctets {
			dropped = 0
			time.Sleep(lingerPause)
		}
	}
}

// Of what is dropped so many octets are read before a pause, so that who goes
// on sending costs little.
const (
	lingerOctets = 32 << 10
	lingerPause  = 20 * time.Millisecond
)
