package outbound

import (
	"bytes"
	"time"

	"simpd/protocol"
)

// probeDelay is how long a server may be silent before it is sent a PING,
// which SIMP allows before the greeting. The PING makes servers of protocols
// where the client speaks first, such as TLS or HTTP, respond.
const probeDelay = 2 * time.Second

// probeTag is the tag of that PING.
const probeTag = "probe"

// ReadGreeting reads the server's first line. It detects other protocols by
// their first octets.
func (o *Conn) ReadGreeting() error {
	probe := time.AfterFunc(probeDelay, func() { _, _ = o.Conn.Write([]byte(probeTag + " PING\r\n")) })
	l, err := o.readFirstLine()
	probed := !probe.Stop()
	switch {
	case err != nil:
		return greetingError(err)
	case l.Tag == "*" && l.Verb == "BYE":
		return ByeError(l)
	case l.Tag != "*" || l.Verb != "HELLO":
		return ProtocolError("it greets with %s", protocol.Quote(truncate(l.Verb, maxShownOctets)))
	case probed:
		_, err = o.awaitResponse(probeTag) // so that nothing is under way when TLS begins
	}
	return err
}

// readFirstLine returns the first line if it can be SIMP.
func (o *Conn) readFirstLine() (*protocol.Line, error) {
	const begins = "* "
	for {
		if trimmed := bytes.TrimLeft(o.unread, "\r\n"); len(trimmed) < len(o.unread) {
			o.unread = trimmed
			if err := o.countSkipped("they are empty"); err != nil {
				return nil, err
			}
		}
		if n := min(len(o.unread), len(begins)); string(o.unread[:n]) != begins[:n] || isIMAP(o.unread) {
			return nil, ProtocolError("it speaks %s", describeProtocol(o.unread))
		} else if n == len(begins) {
			l, _, err := o.ReadNext(0)
			return l, err
		}
		if err := o.fill(); err != nil {
			return nil, err
		}
	}
}

func isIMAP(first []byte) bool { return bytes.HasPrefix(first, []byte("* OK")) }
