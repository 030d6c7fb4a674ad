// Package tlsrecord bounds the TLS records that carry no application data. A
// peer may ask for new keys (KeyUpdate, RFC 8446, section 4.6.3) as often as it
// likes: package crypto/tls derives them and writes an answer each time, which
// no limit on requests or octets sees.
package tlsrecord

import (
	"errors"
	"sync/atomic"
	"time"

	"simpd/protocol/rate"
)

// ErrTooMany ends a connection on which too many records carried nothing.
var ErrTooMany = errors.New("too many TLS records without application data")

// Burst is how many such records a connection may have at once, after which it
// may have one a minute. An honest peer sends a few in all: it asks for new
// keys after some 2^24 records, and says once that nothing more comes.
const Burst = 64

var allowed = rate.NewLimit(1.0/60, Burst)

const (
	headerSize = 5
	lengthAt   = 3 // of two octets, in the header
)

// Counter counts the records of one direction of a connection, as they are read
// below TLS, and those that carried application data, as they are read above.
// The zero Counter counts no limit until Begin.
//
// It relies on one property of tls.Conn: it reads from below only when it has
// taken all complete records, and it returns the data of a record before it
// takes the next. So whenever it reads from below, each record that has come is
// either one that a Read above has returned, or one that carried nothing.
type Counter struct {
	header [headerSize]byte
	have   int // octets of header
	body   int // octets that are left of the record

	records int64        // that have come as a whole, since the last look
	reads   atomic.Int64 // above, likewise

	began  time.Time // zero: nothing is limited yet
	bucket rate.Bucket
}

// Begin limits what comes from now on: it is called when the handshake is over.
func (c *Counter) Begin() { c.began = time.Now() }

// Took counts octets that were read below TLS.
func (c *Counter) Took(octets []byte) {
	for len(octets) > 0 {
		if c.have < headerSize {
			n := copy(c.header[c.have:], octets)
			octets = octets[n:]
			if c.have += n; c.have < headerSize {
				return
			}
			c.body = int(c.header[lengthAt])<<8 | int(c.header[lengthAt+1])
		}
		n := min(c.body, len(octets))
		octets = octets[n:]
		if c.body -= n; c.body == 0 {
			c.have = 0
			c.records++
		}
	}
}

// Returned counts a Read above TLS that returned application data.
func (c *Counter) Returned() { c.reads.Add(1) }

// Check returns ErrTooMany if too many records carried nothing. It is called
// whenever TLS reads from below, before the read. A record that is returned in
// several pieces counts as several: so some that carry nothing may go uncounted
// beside long ones, but none is counted that carries something.
func (c *Counter) Check() error {
	empty := c.records - c.reads.Swap(0)
	c.records = 0
	if empty <= 0 || c.began.IsZero() {
		return nil
	}
	if !c.bucket.Take(allowed, int(min(empty, Burst+1)), time.Since(c.began)) {
		return ErrTooMany
	}
	return nil
}
