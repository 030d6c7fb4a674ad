package client

import (
	"bytes"
	"time"

	"simpd/protocol"
)

// probeAfter is how long a server may say nothing before it is sent a PING,
// which SIMP allows before the greeting. It draws an answer out of servers that
// speak something else and wait for the client to begin, such as TLS or HTTP.
const probeAfter = 2 * time.Second

// probeTag is the tag of that PING.
const probeTag = "probe"

// greeting takes the server's first line. A server that speaks something else
// is found out by its first octets.
func (o *opening) greeting() error {
	probe := time.AfterFunc(probeAfter, func() { _, _ = o.Conn.Write([]byte(probeTag + " PING\r\n")) })
	l, err := o.first()
	probed := !probe.Stop()
	switch {
	case err != nil:
		return greetingError(err)
	case l.Tag == "*" && l.Verb == "BYE":
		return byeError(l)
	case l.Tag != "*" || l.Verb != "HELLO":
		return protocolError("it greets with %s", protocol.Quote(cut(l.Verb, maxShown)))
	case probed:
		_, err = o.await(probeTag) // so that nothing is under way when TLS begins
	}
	return err
}

// first returns the first line, if it can be SIMP's.
func (o *opening) first() (*protocol.Line, error) {
	const begins = "* "
	for {
		if trimmed := bytes.TrimLeft(o.rest, "\r\n"); len(trimmed) < len(o.rest) {
			o.rest = trimmed
			if err := o.skip("they are empty"); err != nil {
				return nil, err
			}
		}
		if n := min(len(o.rest), len(begins)); string(o.rest[:n]) != begins[:n] || isIMAP(o.rest) {
			return nil, protocolError("it speaks %s", spokenBy(o.rest))
		} else if n == len(begins) {
			l, _, err := o.next(0)
			return l, err
		}
		if err := o.fill(); err != nil {
			return nil, err
		}
	}
}

func isIMAP(first []byte) bool { return bytes.HasPrefix(first, []byte("* OK")) }
