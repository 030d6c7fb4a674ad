package server

import (
	"strconv"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// OnTimer handles timeouts. The timer wheel calls it.
func (s *session) OnTimer(now time.Time) {
	switch why := s.timeoutError(now); {
	case s.cutIfBlocked(now):
	case s.state.isClosing():
	case why != nil:
		s.server.metrics.TimedOut.Add(1)
		s.Bye(why.Status, why.Text)
	default:
		if !s.usage.dropTenant() {
			s.wakeAt(now.Add(busyTenantTime))
		}
		s.pingIfSilent(now)
		s.expireMessages(now)
	}
}

// timeoutError returns why the session has to be closed, or nil.
func (s *session) timeoutError(now time.Time) *protocol.Error {
	if !s.state.isAuthenticated() {
		at := s.activity.start.Add(authTimeout)
		if !now.Before(at) {
			return protocol.Errorf(protocol.StatusUnauthorized, "not authenticated within %v", authTimeout)
		}
		s.wakeAt(at)
	}
	slow, next := s.activity.lineTimedOut(now)
	if slow {
		return protocol.Errorf(protocol.StatusBadRequest, "a line or its literal comes too slowly")
	}
	s.wakeAt(next)
	dead, next := s.activity.pingTimedOut(now)
	if dead {
		return protocol.Errorf(protocol.StatusNotReading, "PING was not answered within %v", pingTimeout)
	}
	s.wakeAt(next)
	return nil
}

// pingIfSilent sends PING to a client that has been silent.
func (s *session) pingIfSilent(now time.Time) {
	ping, next := s.activity.pingDue(now, s.server.config.Idle)
	if ping != 0 {
		s.sendNotification(protocol.AppendRequest(nil, pingTag+strconv.FormatUint(ping, 10), "PING"))
	}
	s.wakeAt(next)
}

// expireMessages ends what has waited for too long.
func (s *session) expireMessages(now time.Time) {
	all, next, dropped := s.in.expire(now)
	reportAll(all)
	if dropped {
		s.conn.RemoveDropped()
	}
	late, due := s.inflight.overdueSends(now)
	for _, x := range late {
		x.abandon()
	}
	s.wakeAt(wait.Earlier(next, due))
}

// cutIfBlocked closes the connection if the client has not read for too long.
func (s *session) cutIfBlocked(now time.Time) bool {
	stuck := s.conn.BlockedSince()
	if stuck.IsZero() {
		return false
	}
	if now.Sub(stuck) >= blockedTimeout {
		s.server.metrics.SlowConsumers.Add(1)
		s.Abort()
		return true
	}
	s.wakeAt(now.Add(time.Second))
	return false
}

// OnBehind starts to check the time while the client does not accept
// everything at once.
func (s *session) OnBehind() { s.wakeAt(time.Now().Add(time.Second)) }

// AddMemory counts queued output.
func (s *session) AddMemory(octets int) {
	if s.usage.charge(octets) {
		s.server.shedLoad()
	}
}

// Limits of queued output in octets.
const (
	maxEarlyWaiting = 2 * maxEarlyOctets // before AUTH
	// maxWaiting limits the responses to as many requests as allowed, and their
	// refusals. Messages do not count.
	maxWaiting = protocol.MaxRequestOctets + 1<<20
	// freeWaiting may be queued even if the connection's owner is above its
	// share.
	freeWaiting = 64 << 10
)

// AllowsQueued reports whether that many octets may be queued. A client that
// keeps asking without reading is cut off, earlier if it is not authenticated
// or its owner is above its share.
func (s *session) AllowsQueued(waiting int) bool {
	if !s.state.isAuthenticated() {
		return waiting <= maxEarlyWaiting
	}
	return waiting <= freeWaiting || waiting <= maxWaiting && !s.usage.isOverdrawn()
}

func (s *session) wakeAt(at time.Time) {
	if !at.IsZero() {
		s.server.timers.Schedule(&s.timer, at)
	}
}
