package server

import (
	"sync/atomic"

	"simpd/protocol"
	"simpd/protocol/histogram"
)

// Counter only increases.
type Counter = atomic.Uint64

// Metrics counts events. Any goroutine may read it at any time.
type Metrics struct {
	Accepted         Counter // connections
	Rejected         Counter // connections rejected by a limit
	FailedHandshakes Counter // failed TLS handshakes
	WrongProtocol    Counter // HTTP or TLS on the plaintext port
	Logins           Counter
	LoginsFailed     Counter // wrong credentials
	LoginsSlowed     Counter // 429, because too many failed before
	// LoginsUnavailable are logins of which it is not known whether the
	// credentials were right: 503.
	LoginsUnavailable Counter
	LoginTime         histogram.Durations // from AUTH to its final response
	Errors            Counter             // lines without a tag
	Throttled         Counter             // times that reading a connection was paused
	TimedOut          Counter             // connections closed for taking too long
	SlowConsumers     Counter             // connections closed for not reading
	EmptyRecords      Counter             // connections closed for TLS records without data
	Shed              Counter             // connections closed because their owner held most of too much memory

	Delivered    Counter // messages that a client accepted
	Refused      Counter // messages that a client refused
	NotReading   Counter // messages dropped because the client does not read
	NotListening Counter // messages dropped because the session no longer listens
	Repeated     Counter // messages that the client had already accepted
	Conflicting  Counter // messages whose ID was used for different content
}

// countDropped counts a message that a session did not accept.
func (m *Metrics) countDropped(s protocol.Status) {
	switch s {
	case protocol.StatusOK:
		m.Repeated.Add(1)
	case protocol.StatusNotReading:
		m.NotReading.Add(1)
	case protocol.StatusWrongState:
		m.Conflicting.Add(1)
	default:
		m.NotListening.Add(1)
	}
}
