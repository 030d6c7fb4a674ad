package server

import (
	"sync/atomic"

	"simpd/protocol"
	"simpd/protocol/meter"
)

// Counter only grows.
type Counter = atomic.Uint64

// Metrics counts what happens. Any goroutine may read it at any time.
type Metrics struct {
	Accepted     Counter // connections
	Turned       Counter // connections turned away by a limit
	Handshakes   Counter // TLS handshakes that failed
	Foreign      Counter // connections of HTTP or TLS on the plain port
	Logins       Counter
	LoginsFailed Counter         // wrong credentials
	LoginsSlowed Counter         // 429: too many failed before
	LoginTime    meter.Durations // from AUTH to its final answer
	Errors       Counter         // lines without a tag
	Slowed       Counter         // times that a connection was not read for a while: too much came
	Overtime     Counter         // connections ended for taking too long
	Stuck        Counter         // connections ended for not reading
	EmptyRecords Counter         // connections ended for TLS records that carried nothing
	Shed         Counter         // connections ended for holding most of too much memory

	Delivered    Counter // messages that a client acknowledged
	Refused      Counter // messages that a client refused
	NotReading   Counter // messages dropped: the client does not take them
	NotListening Counter // messages dropped: the session listens no more
	Repeated     Counter // messages that the client had accepted already
	Conflicting  Counter // messages whose id stands for other octets
}

// dropped counts a message that a session did not take.
func (m *Metrics) dropped(s protocol.Status) {
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
