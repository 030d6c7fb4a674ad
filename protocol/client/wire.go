package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"simpd/protocol"
)

// wire reads lines and literals from a connection. It is used by one
// goroutine: first the one that opens the connection, then its reader.
type wire struct {
	net.Conn
	mem  []byte
	rest []byte // of mem: read and not used yet
	line protocol.Line

	idle    time.Duration // of silence, after which silent is called; 0: never
	silent  func()
	waiting bool // silent was called, and nothing came since

	length  int       // of the line, with its CRLF
	skipped int       // lines that were empty or wrong, since
	since   time.Time // when they are counted anew after skippedTime
}

const (
	wireBuffer  = 2 * protocol.MaxLine
	maxSkipped  = 1000 // lines in skippedTime that are empty, or whole but wrong
	skippedTime = time.Minute
	manyParams  = 64 // of a line; room for more is not kept for the next

	paramCost    = 32  // octets that a protocol.Param takes
	responseCost = 128 // octets that a response takes beside its line and params
)

// lineCost returns what keeping a line takes, in octets: the text that its
// strings are parts of, its params and what points to them.
func (w *wire) lineCost() int {
	return w.length + len(w.line.Params)*paramCost + responseCost
}

// next reads one line that is not empty, and the literal that follows it. The
// line is valid until the next call. A malformed line that leaves the stream
// sound is skipped, with its literal.
func (w *wire) next(limit int) (*protocol.Line, []byte, error) {
	for {
		s, err := w.readLine()
		if err != nil {
			return nil, nil, err
		}
		if s == "" {
			if err := w.skip("they are empty"); err != nil {
				return nil, nil, err
			}
			continue
		}
		malformed := w.parse(s)
		if errors.Is(malformed, protocol.ErrBadLiteral) {
			return nil, nil, protocolError("%v", malformed)
		}
		if malformed != nil {
			if err := w.skip(malformed.Error()); err != nil {
				return nil, nil, err
			}
		}
		body, err := w.readLiteral(w.line.Literal, limit)
		if err != nil || malformed == nil {
			return &w.line, body, err
		}
	}
}

// parse reads a line. Room for very many params is not kept.
func (w *wire) parse(s string) error {
	if cap(w.line.Params) > manyParams {
		w.line.Params = nil
	}
	w.length = len(s) + len("\r\n")
	return protocol.ParseLine(s, &w.line)
}

// skip counts a line that means nothing; too many in a short time are an error.
func (w *wire) skip(why string) error {
	if now := time.Now(); now.Sub(w.since) > skippedTime {
		w.since, w.skipped = now, 0
	}
	if w.skipped++; w.skipped > maxSkipped {
		return protocolError("too many lines mean nothing: %s", why)
	}
	return nil
}

// readLine returns the next line without its CRLF.
func (w *wire) readLine() (string, error) {
	for {
		n, err := protocol.ScanLine(w.rest)
		if err != nil {
			return "", protocolError("%v", err)
		}
		if n > 0 {
			s := string(w.rest[:n-2])
			w.rest = w.rest[n:]
			return s, nil
		}
		if err := w.fill(); err != nil {
			return "", err
		}
	}
}

// fill reads some octets more behind what is not used yet, which is less than a line.
func (w *wire) fill() error {
	if w.mem == nil {
		w.mem = make([]byte, wireBuffer)
	}
	kept := copy(w.mem, w.rest)
	n, err := w.Read(w.mem[kept:])
	w.rest = w.mem[:kept+n]
	if n > 0 {
		return nil
	}
	return err
}

// readLiteral returns the n octets that follow a line; nil if n is negative.
func (w *wire) readLiteral(n, limit int) ([]byte, error) {
	if n < 0 {
		return nil, nil
	}
	if n > limit {
		return nil, protocolError("a message of %d octets; at most %d are taken", n, limit)
	}
	body := make([]byte, min(n, bodyAtOnce))
	used := copy(body, w.rest)
	w.rest = w.rest[used:]
	for {
		if _, err := io.ReadFull(w, body[used:]); err != nil {
			return nil, fmt.Errorf("in the midst of a message: %w", err)
		}
		used = len(body)
		if used == n {
			return body, nil
		}
		body = slices.Grow(body, min(n-used, used))[:min(n, 2*used)]
	}
}

// bodyAtOnce is how much room is made for a message before its octets come.
const bodyAtOnce = 64 << 10

// Read reads from the connection. After a time of silence it has the other
// side asked for a sign of life, and waits for that once.
func (w *wire) Read(p []byte) (int, error) {
	for {
		if err := w.limitSilence(); err != nil {
			return 0, err
		}
		n, err := w.Conn.Read(p)
		if n > 0 || err == nil || w.idle == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			w.waiting = false
			return n, err
		}
		if w.waiting {
			return 0, errors.New("the server is silent")
		}
		w.waiting = true
		w.silent()
	}
}

func (w *wire) limitSilence() error {
	switch {
	case w.idle == 0:
		return nil
	case w.waiting:
		return w.SetReadDeadline(time.Now().Add(aliveTimeout))
	}
	return w.SetReadDeadline(time.Now().Add(w.idle))
}

// intParam returns a param that is a number; 0 if it is missing or none.
func intParam(l *protocol.Line, key string) int {
	n, err := strconv.ParseUint(textParam(l, key), 10, 31)
	if err != nil {
		return 0
	}
	return int(n)
}

func uintParam(l *protocol.Line, key string) uint64 {
	n, err := strconv.ParseUint(textParam(l, key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func textParam(l *protocol.Line, key string) string {
	value, _ := l.Get(key)
	return value
}
