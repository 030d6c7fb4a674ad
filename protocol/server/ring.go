package server

import (
	"strconv"
	"time"

	"simpd/protocol"
)

// ring looks at the clock: who takes too long, and what has waited too long.
// The wheel calls it.
func (s *session) ring(now time.Time) {
	switch why := s.overtime(now); {
	case s.ringStuck(now):
	case s.closing.Load():
	case why != nil:
		s.server.metrics.Overtime.Add(1)
		s.Bye(why.Status, why.Text)
	default:
		if !s.usage.forget() {
			s.wakeAt(now.Add(busyPartyTime))
		}
		s.ringSilent(now)
		s.ringMessages(now)
	}
}

// overtime says why the session has to be ended, if it has.
func (s *session) overtime(now time.Time) *protocol.Error {
	if !s.proved.Load() {
		at := s.vigil.began.Add(proveTime)
		if !now.Before(at) {
			return protocol.Errorf(protocol.StatusUnauthorized, "not authenticated within %v", proveTime)
		}
		s.wakeAt(at)
	}
	slow, next := s.vigil.slow(now)
	if slow {
		return protocol.Errorf(protocol.StatusBadRequest, "a line or its literal comes too slowly")
	}
	s.wakeAt(next)
	dead, next := s.vigil.dead(now)
	if dead {
		return protocol.Errorf(protocol.StatusNotReading, "PING was not answered within %v", pingTime)
	}
	s.wakeAt(next)
	return nil
}

// ringSilent sends PING to a client that has been silent.
func (s *session) ringSilent(now time.Time) {
	ping, next := s.vigil.silent(now, s.server.config.Idle)
	if ping != 0 {
		s.say(protocol.AppendRequest(nil, pingTag+strconv.FormatUint(ping, 10), "PING"))
	}
	s.wakeAt(next)
}

// ringMessages ends what has waited for too long.
func (s *session) ringMessages(now time.Time) {
	all, next, dropped := s.in.expire(now)
	settle(all)
	if dropped {
		s.out.purge()
	}
	late, due := s.ledger.overdue(now)
	for _, x := range late {
		x.giveUp()
	}
	s.wakeAt(sooner(next, due))
}

// ringStuck ends the connection if the client has not read for too long.
func (s *session) ringStuck(now time.Time) bool {
	stuck := s.out.stuckSince()
	if stuck.IsZero() {
		return false
	}
	if now.Sub(stuck) >= stuckTime {
		s.server.metrics.Stuck.Add(1)
		s.cut()
		return true
	}
	s.wakeAt(now.Add(time.Second))
	return false
}

// behind has the clock looked at while the client does not take all at once.
func (s *session) behind() { s.wakeAt(time.Now().Add(time.Second)) }

// hold counts what waits to be written.
func (s *session) hold(octets int) {
	if s.usage.charge(octets) {
		s.server.shed()
	}
}

// What may wait to be written, in octets.
const (
	maxEarlyWaiting = 2 * maxEarlyOctets // before AUTH
	// freeWaiting may wait also where the connection's owner is above its share.
	freeWaiting = 64 << 10
)

// bears reports whether so many octets may wait to be written. Who asks on and
// on and reads nothing is cut off: as much as it may ask, and sooner if it is
// not authenticated, or its owner is above its share.
func (s *session) bears(waiting int) bool {
	if !s.proved.Load() {
		return waiting <= maxEarlyWaiting
	}
	return waiting <= freeWaiting || waiting <= maxWaiting && !s.usage.isOverdrawn()
}

func (s *session) wakeAt(at time.Time) {
	if !at.IsZero() {
		s.server.wheel.wake(&s.alarm, at)
	}
}
