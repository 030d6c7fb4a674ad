package server

import (
	"context"
	"errors"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
	"simpd/protocol/tlsrecord"
)

// serve runs the session from the first octet to the last. If an event loop
// reads, it returns when the session has started.
func (s *session) serve() {
	if s.transport == protocol.TLS && !s.startTLS() {
		s.server.unregister(s)
		return
	}
	s.wakeAt(s.activity.start.Add(authTimeout))
	s.sendGreeting()
	if !s.attachToLoop() {
		s.teardown(s.readLoop())
	}
}

// startTLS performs the handshake of a connection that begins with TLS.
func (s *session) startTLS() bool {
	if err := s.handshake(); err != nil {
		s.server.metrics.FailedHandshakes.Add(1)
		s.conn.Fail()
		return false
	}
	s.conn.Thaw()
	return true
}

func (s *session) sendGreeting() {
	if g := s.server.config.Backend.Greeting(); g.Refuse != "" {
		s.Bye(protocol.StatusUnavailable, g.Refuse)
		return
	}
	b := protocol.AppendRequest(nil, "*", "HELLO")
	b = protocol.AppendParam(b, "version", protocol.Version)
	s.sendNotification(protocol.AppendParam(b, "domain", s.server.config.Domains[0]))
}

// readLoop reads until the session ends.
func (s *session) readLoop() closeReason {
	for {
		octets, whole, err := s.decoder.takeDeferred()
		if octets == nil {
			octets, whole, err = s.conn.Read()
		}
		s.server.network.Cork() // what this leads to is written once
		why, over := s.onRead(octets, whole, err)
		s.server.network.Uncork()
		if over {
			return why
		}
		s.awaitPace()
	}
}

// awaitPace waits until reading may continue, or the session is closing.
func (s *session) awaitPace() {
	for !s.state.isClosing() {
		left := s.pauseLeft()
		if left <= 0 && (s.pace.pausedUntil == 0 || s.recheckPace()) {
			return
		}
		time.Sleep(min(max(left, 0), 100*time.Millisecond))
	}
}

// onRead handles what was read, and reports whether the session ends.
func (s *session) onRead(octets []byte, whole bool, err error) (why closeReason, over bool) {
	switch {
	case s.state.isClosing():
		return s.state.reason(), true
	case netio.IsEOF(err):
		return closeFinished, true
	case errors.Is(err, tlsrecord.ErrTooMany):
		s.cutForRecords(err)
		return closeBroken, true
	case err != nil:
		return closeBroken, true
	}
	s.decoder.now = time.Now()
	requests := s.feed(octets, whole)
	if s.decoder.countedOctets > 0 || s.decoder.isPartial() || s.decoder.deferred != nil {
		s.decoder.countMemory(&s.usage)
	}
	if s.quitTag != "" {
		return closeFinished, true
	}
	s.wakeAt(s.activity.onData(&s.decoder))
	s.spendRead(len(octets)-s.decoder.deferredOctets(), requests)
	why = s.state.reason()
	return why, why != closeNone
}

// feed handles the requests in octets, or as many as one turn allows; the
// rest is deferred. It returns how many requests count for the pace.
func (s *session) feed(octets []byte, whole bool) (requests int) {
	t := readTurn{began: s.decoder.now}
	octets, r, err := s.decoder.nextRequest(octets)
	for r != nil {
		requests += s.countRequest(r)
		if again := s.dispatch(r, octets); !again {
			return requests
		}
		if len(octets) > 0 && (t.isOver() || s.endsTurnEarly(requests)) {
			s.decoder.deferInput(octets, whole)
			return requests
		}
		octets, r, err = s.decoder.nextRequest(octets)
	}
	if err == nil && whole && s.decoder.isPartial() {
		err = errors.New("a WebSocket message ends within a line or its literal")
	}
	if err != nil {
		s.closeForError(err)
	}
	return requests
}

// dispatch handles one line. It returns false if nothing more is to be read.
func (s *session) dispatch(r *request, rest []byte) bool {
	if s.decoder.countedOctets > 0 {
		s.decoder.countMemory(&s.usage) // of r nothing: it counts for itself now
	}
	if r.line.Status != 0 {
		s.handleResponse(r)
		r.free()
	} else {
		s.handleRequest(r, rest)
	}
	return s.quitTag == "" && !s.state.isClosing()
}

// closeForError closes the connection because the position in the stream is
// undefined.
func (s *session) closeForError(err error) {
	switch {
	case err == errHTTP, err == errTLS:
		s.server.metrics.WrongProtocol.Add(1)
		s.Abort()
	case err == errTooLarge:
		s.Bye(protocol.StatusTooLarge, err.Error())
	default:
		s.Bye(protocol.StatusBadRequest, err.Error())
	}
}

// cutForRecords closes the connection at once, because TLS can't continue.
func (s *session) cutForRecords(err error) {
	s.server.metrics.EmptyRecords.Add(1)
	s.usage.mu.Lock() // AUTH may be setting the client now
	who := s.client
	s.usage.mu.Unlock()
	s.server.config.Logger.Warn("a connection is ended", "error", err, "source", who.Remote, "user", who.User)
	s.Abort()
}

// teardown ends the session with the site, sends outstanding responses, and
// closes.
func (s *session) teardown(why closeReason) {
	if why == closeFinished {
		s.drainRequests()
	}
	reportAll(s.in.close())
	if why == closeFinished {
		s.drainResponses()
	}
	s.state.close(why)
	s.inflight.close()
	s.work.cancelAll()
	s.work.add(s.closeUser, time.Time{})
	s.work.close()
	if why != closeBroken {
		s.lingerClose()
	}
	_ = s.conn.Close() // nothing is lost any more
	s.conn.CloseOutput()
	s.decoder = decoder{countedOctets: s.decoder.countedOctets}
	s.decoder.countMemory(&s.usage)
	s.usage.dropTenant()
	s.server.unregister(s)
}

func (s *session) closeUser(context.Context) {
	if s.user != nil {
		s.user.Close()
		s.user = nil
		s.server.releaseRoute(s.client.Domain)
	}
}

// drainRequests waits until earlier requests have taken effect; until then
// the session listens as requested (SIMP.md, section 4). Messages that it was
// given are written, but their responses are not awaited. A client that does
// not read is cut off meanwhile.
func (s *session) drainRequests() {
	done := make(chan struct{})
	if s.work.add(func(context.Context) { close(done) }, time.Time{}) {
		<-done
	}
	s.in.refuseNew()
	s.conn.AwaitDrained()
}

// drainResponses sends all outstanding responses, and then that to QUIT.
func (s *session) drainResponses() {
	s.work.add(func(context.Context) { s.cancelAuth() }, time.Time{})
	s.work.add(s.closeUser, time.Time{})
	s.inflight.waitIdle()
	if s.quitTag == "" || s.quitTag == "*" { // a half-close, or a QUIT without a tag
		s.sendFinal(nil, closeFinished)
		return
	}
	s.sendFinal(protocol.AppendEnd(protocol.AppendResponse(nil, s.quitTag, protocol.StatusOK)), closeFinished)
}

// lingerClose lets the last line arrive: it reads and drops what the client
// still sends.
func (s *session) lingerClose() {
	s.conn.AwaitDrained()
	_ = s.conn.SetReadDeadline(time.Now().Add(lingerTime)) // fails if nothing can arrive
	for dropped := 0; ; {
		octets, _, err := s.conn.Read()
		if err != nil {
			return
		}
		if dropped += len(octets); dropped > lingerOctets {
			dropped = 0
			time.Sleep(lingerPause)
		}
	}
}

// lingerClose pauses after so many octets, so that a client that keeps
// sending costs little.
const (
	lingerOctets = 32 << 10
	lingerPause  = 20 * time.Millisecond
)
