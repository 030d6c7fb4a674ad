package server

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"simpd/protocol"
)

// request is one line with its literal: a request, or a response to one of
// ours.
type request struct {
	line     protocol.Line
	literal  []byte // nil if there was none, or it was dropped
	tooLarge bool   // it was dropped for its size
	unpaid   bool   // it was dropped as its owner holds too much
	wrong    error  // the line is whole but wrong; a *protocol.Error
	octets   int    // of line and literal
	idn      int    // octets of its addresses that need IDNA, once they are counted
	received time.Time
}

var requests = sync.Pool{New: func() any { return new(request) }}

// free gives r back once nothing refers to it; what was cut from its line's
// string stays valid.
func (r *request) free() {
	if cap(r.line.Params) > 16 {
		return
	}
	clear(r.line.Params) // elements beyond len were cleared when their own line was freed
	*r = request{line: protocol.Line{Params: r.line.Params[:0]}}
	requests.Put(r)
}

// detach returns what the answer to r needs, for use after r was freed.
func (r *request) detach() *request {
	return &request{line: protocol.Line{Tag: r.line.Tag, Verb: r.line.Verb}, octets: r.octets, received: r.received}
}

// input finds requests in the octets that a client sends, however they are
// cut up. It keeps an incomplete line, or a literal as far as it has come.
type input struct {
	size   int          // the largest message
	proved *atomic.Bool // the client is authenticated: its messages are worth memory
	now    time.Time    // when the octets came that next is given

	first    bool  // a line was read, and it was not HTTP's
	keep     bool  // the literal of open is wanted
	untagged uint8 // lines of which no tag could be read; at most maxErrors

	rest []byte   // of a line
	open *request // whose literal is being read
	left int      // octets of it that are to come
	came int      // octets in all

	later   *unread // what the next turn takes; nil: nothing
	counted int     // octets that are counted for rest, open and later
}

// unread is whole lines, and more, that were read from a wire and not taken yet.
type unread struct {
	octets []byte
	whole  bool // see wire.read
}

// count counts what is kept of an incomplete line or literal. A literal that is
// more than the owner's share is dropped, and its request refused.
func (in *input) count(u *usage) {
	held := cap(in.rest)
	if in.later != nil {
		held += cap(in.later.octets)
	}
	if in.open != nil {
		held += cap(in.open.literal)
	}
	if more := held - in.counted; more <= 0 || in.open == nil {
		u.charge(more)
	} else if !u.reserve(more) {
		held -= cap(in.open.literal)
		in.keep, in.open.literal, in.open.unpaid = false, nil, true
		u.charge(held - in.counted)
	}
	in.counted = held
}

// Errors that end the connection, besides those of package protocol.
var (
	errHTTP     = errors.New("this is not HTTP")
	errTLS      = errors.New("this is TLS")
	errTooLarge = errors.New("the literal is far too large")
)

// farTooLarge is how many times the largest message a literal may be and
// still be read and dropped.
const farTooLarge = 16

// next takes octets from data. It returns a request that is complete with
// them, or nil once data is used up, and what is left of data. After an error
// the position in the stream is in doubt.
func (in *input) next(data []byte) (left []byte, r *request, err error) {
	had := len(data)
	defer func() { in.came += had - len(left) }()
	for data = in.skipEmpty(data); len(data) > 0; data = in.skipEmpty(data) {
		if in.open != nil {
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

// skipEmpty skips the empty lines that data begins with.
func (in *input) skipEmpty(data []byte) []byte {
	if in.open != nil || len(in.rest) > 0 {
		return data
	}
	for len(data) >= 2 && data[0] == '\r' && data[1] == '\n' {
		data, in.first = data[2:], true
	}
	return data
}

// keepLater keeps octets for the next turn.
func (in *input) keepLater(octets []byte, whole bool) {
	in.later = &unread{bytes.Clone(octets), whole}
}

// takeLater returns what was kept; nil: nothing was.
func (in *input) takeLater() (octets []byte, whole bool, err error) {
	if l := in.later; l != nil {
		in.later = nil
		return l.octets, l.whole, nil
	}
	return nil, false, nil
}

// leftOver returns how many octets are kept for the next turn.
func (in *input) leftOver() int {
	if in.later == nil {
		return 0
	}
	return len(in.later.octets)
}

// partial reports whether a line or a literal has begun and is not complete.
func (in *input) partial() bool { return len(in.rest) > 0 || in.open != nil }

// readLine returns the first line with its CRLF, or nil if it is not complete.
func (in *input) readLine(data []byte) (line, left []byte, err error) {
	if !in.first && len(in.rest) == 0 && data[0] == tlsHandshake {
		return nil, nil, errTLS
	}
	if len(in.rest) == 0 {
		n, err := protocol.ScanLine(data)
		if n == 0 {
			in.rest = append(in.rest, data...)
			return nil, nil, err
		}
		return data[:n], data[n:], nil
	}
	had := len(in.rest)
	in.rest = append(in.rest, data[:min(len(data), protocol.MaxLine)]...)
	n, err := protocol.ScanLine(in.rest)
	if n == 0 || err != nil {
		return nil, nil, err
	}
	line, in.rest = in.rest[:n], nil
	return line, data[n-had:], nil
}

// tlsHandshake is the first octet of a TLS connection.
const tlsHandshake = 0x16

// parse reads a line. r is nil if it is empty, or if its literal is to come.
func (in *input) parse(line []byte) (r *request, err error) {
	text := line[:len(line)-2]
	if !in.first && isHTTP(text) {
		return nil, errHTTP
	}
	in.first = true
	if len(text) == 0 {
		return nil, nil
	}
	r = requests.Get().(*request)
	if err = parseLine(text, &r.line); err != nil && !errors.As(err, new(*protocol.Error)) {
		return nil, err
	}
	r.wrong, r.octets, r.received = err, len(line), in.now
	if r.line.Literal < 0 {
		return r, nil
	}
	return in.begin(r)
}

// parseLine reads a line without its CRLF. A response is not copied: it is
// forgotten before its octets are, unless a literal, which is an error, is
// still to come.
func parseLine(text []byte, l *protocol.Line) error {
	i := bytes.IndexByte(text, ' ')
	if i < 0 || i+1 == len(text) || text[i+1] > '9' {
		return protocol.ParseLine(string(text), l)
	}
	err := protocol.ParseLine(unsafe.String(unsafe.SliceData(text), len(text)), l)
	if l.Literal >= 0 {
		return protocol.ParseLine(string(text), l)
	}
	return err
}

// isHTTP reports whether a connection's first line is a request of HTTP's.
func isHTTP(line []byte) bool {
	last := line[bytes.LastIndexByte(line, ' ')+1:]
	return len(last) > 5 && bytes.EqualFold(last[:5], []byte("HTTP/"))
}

// begin begins the literal of r, which is returned if it is empty.
func (in *input) begin(r *request) (*request, error) {
	n := r.line.Literal
	if n > farTooLarge*in.size {
		return nil, errTooLarge
	}
	limit := in.limit(r.line.Verb)
	r.tooLarge = n > limit
	r.octets += n
	in.open, in.left = r, n
	in.keep = r.wrong == nil && !r.tooLarge && (in.proved.Load() || r.line.Verb != "SEND")
	if n > 0 {
		return nil, nil
	}
	_, r = in.readLiteral(nil)
	return r, nil
}

// readLiteral takes what data holds of the literal; r is nil if more is to
// come. Memory is taken as octets come, not as they are announced.
func (in *input) readLiteral(data []byte) (left []byte, r *request) {
	n := min(in.left, len(data))
	in.left -= n
	r = in.open
	if in.keep {
		if r.literal == nil && in.left == 0 {
			r.literal = make([]byte, 0, n)
		}
		r.literal = append(r.literal, data[:n]...)
	}
	if in.left > 0 {
		return nil, nil
	}
	in.open = nil
	r.received = in.now
	return data[n:], r
}

// limit is the size of the literal that a verb may have.
func (in *input) limit(verb string) int {
	switch verb {
	case "SEND":
		return in.size
	case "AUTH", "MORE":
		return protocol.MaxAuthData
	}
	return 0
}
