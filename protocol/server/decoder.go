package server

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"simpd/protocol"
)

// request is one line with its literal: a request of the client, or a
// response to one of ours.
type request struct {
	line       protocol.Line
	literal    []byte // nil if there was none, or if it was dropped
	tooLarge   bool   // it was dropped for its size
	overBudget bool   // it was dropped because its owner holds too much
	err        error  // the line is complete but invalid; a *protocol.Error
	octets     int    // of line and literal
	idn        int    // octets of its addresses that need IDNA, once they are counted
	received   time.Time
}

var requests = sync.Pool{New: func() any { return new(request) }}

// free returns r to the pool when nothing refers to it any more. Strings that
// were parts of its line remain valid.
func (r *request) free() {
	if cap(r.line.Params) > 16 {
		return
	}
	clear(r.line.Params) // elements beyond len were cleared when their own line was freed
	*r = request{line: protocol.Line{Params: r.line.Params[:0]}}
	requests.Put(r)
}

// detach returns what the response to r needs, for use after r was freed.
func (r *request) detach() *request {
	return &request{line: protocol.Line{Tag: r.line.Tag, Verb: r.line.Verb}, octets: r.octets, received: r.received}
}

// decoder splits the octets that a client sends into requests, however they
// are divided. It keeps an incomplete line, or the received part of a
// literal.
type decoder struct {
	maxMessage int           // the largest message
	state      *sessionState // until it is authenticated the literals of SENDs are dropped
	now        time.Time     // when the octets passed to nextRequest arrived

	sawLine     bool  // a line was read, and it was not HTTP
	keepLiteral bool  // the literal of pending is needed
	untagged    uint8 // lines without a valid tag; at most maxErrors

	partialLine []byte   // of a line
	pending     *request // whose literal is being read
	remaining   int      // octets of its literal that have not arrived
	consumed    int      // octets in total

	deferred      *deferredInput // input for the next turn; nil: none
	countedOctets int            // counted for partialLine, pending and deferred
}

// deferredInput is input that was read from a transport but not processed
// yet.
type deferredInput struct {
	octets []byte
	whole  bool // see transport.read
}

// countMemory counts the memory of an incomplete line or literal. A literal
// above the owner's share is dropped, and its request refused.
func (in *decoder) countMemory(u *usage) {
	held := cap(in.partialLine)
	if in.deferred != nil {
		held += cap(in.deferred.octets)
	}
	if in.pending != nil {
		held += cap(in.pending.literal)
	}
	if more := held - in.countedOctets; more <= 0 || in.pending == nil {
		u.charge(more)
	} else if !u.reserve(more) {
		held -= cap(in.pending.literal)
		in.keepLiteral, in.pending.literal, in.pending.overBudget = false, nil, true
		u.charge(held - in.countedOctets)
	}
	in.countedOctets = held
}

// Errors that end the connection, besides those of package protocol.
var (
	errHTTP     = errors.New("this is not HTTP")
	errTLS      = errors.New("this is TLS")
	errTooLarge = errors.New("the literal is far too large")
)

// maxDroppedFactor limits the size of a literal that is read and dropped, in
// multiples of the largest message.
const maxDroppedFactor = 16

// nextRequest consumes octets of data. It returns a request that they
// complete, or nil when all are consumed, and the rest of data. After an
// error the position in the stream is undefined.
func (in *decoder) nextRequest(data []byte) (left []byte, r *request, err error) {
	had := len(data)
	defer func() { in.consumed += had - len(left) }()
	for data = in.skipEmpty(data); len(data) > 0; data = in.skipEmpty(data) {
		if in.pending != nil {
			data, r = in.readLiteral(data)
			return data, r, nil
		}
		line, rest, err := in.readLine(data)
		if line == nil || err != nil {
			return nil, nil, err
		}
		data = rest
		if r, err = in.parse(line); r != nil || err != nil {
			return data, r, err
		}
	}
	return nil, nil, nil
}

// skipEmpty skips empty lines at the beginning of data.
func (in *decoder) skipEmpty(data []byte) []byte {
	if in.pending != nil || len(in.partialLine) > 0 {
		return data
	}
	for len(data) >= 2 && data[0] == '\r' && data[1] == '\n' {
		data, in.sawLine = data[2:], true
	}
	return data
}

// deferInput keeps octets for the next turn.
func (in *decoder) deferInput(octets []byte, whole bool) {
	in.deferred = &deferredInput{bytes.Clone(octets), whole}
}

// takeDeferred returns the deferred octets, or nil.
func (in *decoder) takeDeferred() (octets []byte, whole bool, err error) {
	if l := in.deferred; l != nil {
		in.deferred = nil
		return l.octets, l.whole, nil
	}
	return nil, false, nil
}

// deferredOctets returns the number of deferred octets.
func (in *decoder) deferredOctets() int {
	if in.deferred == nil {
		return 0
	}
	return len(in.deferred.octets)
}

// isPartial reports whether a line or a literal is incomplete.
func (in *decoder) isPartial() bool { return len(in.partialLine) > 0 || in.pending != nil }

// readLine returns the first line with its CRLF, or nil if it is incomplete.
func (in *decoder) readLine(data []byte) (line, left []byte, err error) {
	if !in.sawLine && len(in.partialLine) == 0 && data[0] == tlsHandshake {
		return nil, nil, errTLS
	}
	if len(in.partialLine) == 0 {
		n, err := protocol.ScanLine(data)
		if n == 0 {
			in.partialLine = append(in.partialLine, data...)
			return nil, nil, err
		}
		return data[:n], data[n:], nil
	}
	had := len(in.partialLine)
	in.partialLine = append(in.partialLine, data[:min(len(data), protocol.MaxLine)]...)
	n, err := protocol.ScanLine(in.partialLine)
	if n == 0 || err != nil {
		return nil, nil, err
	}
	line, in.partialLine = in.partialLine[:n], nil
	return line, data[n-had:], nil
}

// tlsHandshake is the first octet of a TLS connection.
const tlsHandshake = 0x16

// parse parses a line. r is nil if the line is empty, or if its literal has
// not arrived.
func (in *decoder) parse(line []byte) (r *request, err error) {
	text := line[:len(line)-2]
	if !in.sawLine && isHTTP(text) {
		return nil, errHTTP
	}
	in.sawLine = true
	if len(text) == 0 {
		return nil, nil
	}
	r = requests.Get().(*request)
	if err = parseLine(text, &r.line); err != nil && !errors.As(err, new(*protocol.Error)) {
		return nil, err
	}
	r.err, r.octets, r.received = err, len(line), in.now
	if r.line.Literal < 0 {
		return r, nil
	}
	return in.startLiteral(r)
}

// isHTTP reports whether a connection's first line is an HTTP request.
func isHTTP(line []byte) bool {
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	return len(last) > 5 && bytes.EqualFold(last[:5], []byte("HTTP/"))
}

// startLiteral starts the literal of r. It returns r if the literal is empty.
func (in *decoder) startLiteral(r *request) (*request, error) {
	n := r.line.Literal
	if n > maxDroppedFactor*in.maxMessage {
		return nil, errTooLarge
	}
	limit := in.literalLimit(r.line.Verb)
	r.tooLarge = n > limit
	r.octets += n
	in.pending, in.remaining = r, n
	in.keepLiteral = r.err == nil && !r.tooLarge && (in.state.isAuthenticated() || r.line.Verb != "SEND" && r.line.Verb != "REPORT")
	if n > 0 {
		return nil, nil
	}
	_, r = in.readLiteral(nil)
	return r, nil
}

// readLiteral consumes octets of the literal; r is nil if more have to
// arrive. Memory is allocated as octets arrive, not as they are announced.
func (in *decoder) readLiteral(data []byte) (left []byte, r *request) {
	n := min(in.remaining, len(data))
	in.remaining -= n
	r = in.pending
	if in.keepLiteral {
		if r.literal == nil && in.remaining == 0 {
			r.literal = make([]byte, 0, n)
		}
		r.literal = append(r.literal, data[:n]...)
	}
	if in.remaining > 0 {
		return nil, nil
	}
	in.pending = nil
	r.received = in.now
	return data[n:], r
}

// literalLimit returns the maximum size of the verb's literal.
func (in *decoder) literalLimit(verb string) int {
	switch verb {
	case "SEND", "REPORT":
		return in.maxMessage
	case "AUTH", "MORE":
		return protocol.MaxAuthData
	}
	return 0
}
