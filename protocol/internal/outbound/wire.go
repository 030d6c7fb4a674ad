package outbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"simpd/protocol"
)

// wire reads lines and literals from a connection. One goroutine at a time
// uses it: first the one that opens the connection, then its reader.
type wire struct {
	net.Conn
	buf    []byte
	unread []byte // part of buf that has been read from the connection but not used
	line   protocol.Line

	idle     time.Duration // silence after which onIdle is called; 0: never
	onIdle   func()
	pingSent bool // onIdle was called, and nothing has arrived since

	lineLength   int       // with CRLF
	skipped      int       // empty or malformed lines since skippedSince
	skippedSince time.Time // start of the period of skipped
}

const (
	wireBuffer  = 2 * protocol.MaxLine
	maxSkipped  = 1000 // empty or malformed lines in skippedTime
	skippedTime = time.Minute
	manyParams  = 64 // above it the parameters' memory is not reused

	paramCost    = 32  // octets of a protocol.Param
	responseCost = 128 // octets of a response without its line and parameters
)

// LineCost returns the memory that keeping the line takes: its text, its
// parameters, and the structures around them.
func (w *wire) LineCost() int {
	return w.lineLength + len(w.line.Params)*paramCost + responseCost
}

// LastLineLength returns the octets of the line that readNext returned last.
func (w *wire) LastLineLength() int { return w.lineLength }

// ReadNext reads one line that is not empty, and the literal that follows it.
// The line is valid until the next call. Malformed lines that do not corrupt
// the stream are skipped with their literals.
func (w *wire) ReadNext(limit int) (*protocol.Line, []byte, error) {
	for {
		s, err := w.readLine()
		if err != nil {
			return nil, nil, err
		}
		if s == "" {
			if err := w.countSkipped("they are empty"); err != nil {
				return nil, nil, err
			}
			continue
		}
		malformed := w.parse(s)
		if errors.Is(malformed, protocol.ErrBadLiteral) {
			return nil, nil, ProtocolError("%v", malformed)
		}
		if malformed != nil {
			if err := w.countSkipped(malformed.Error()); err != nil {
				return nil, nil, err
			}
		}
		body, err := w.readLiteral(w.line.Literal, limit)
		if err != nil || malformed == nil {
			return &w.line, body, err
		}
	}
}

// parse parses a line. It does not keep memory for very many parameters.
func (w *wire) parse(s string) error {
	if cap(w.line.Params) > manyParams {
		w.line.Params = nil
	}
	w.lineLength = len(s) + len("\r\n")
	return protocol.ParseLine(s, &w.line)
}

// countSkipped counts a line without meaning; too many in a short time are an
// error.
func (w *wire) countSkipped(why string) error {
	if now := time.Now(); now.Sub(w.skippedSince) > skippedTime {
		w.skippedSince, w.skipped = now, 0
	}
	if w.skipped++; w.skipped > maxSkipped {
		return ProtocolError("too many lines mean nothing: %s", why)
	}
	return nil
}

// readLine returns the next line without CRLF.
func (w *wire) readLine() (string, error) {
	for {
		n, err := protocol.ScanLine(w.unread)
		if err != nil {
			return "", ProtocolError("%v", err)
		}
		if n > 0 {
			s := string(w.unread[:n-2])
			w.unread = w.unread[n:]
			return s, nil
		}
		if err := w.fill(); err != nil {
			return "", err
		}
	}
}

// fill reads more octets after the unread ones, which are less than a line.
func (w *wire) fill() error {
	if w.buf == nil {
		w.buf = make([]byte, wireBuffer)
	}
	kept := copy(w.buf, w.unread)
	n, err := w.Read(w.buf[kept:])
	w.unread = w.buf[:kept+n]
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
		return nil, ProtocolError("a message of %d octets; at most %d are taken", n, limit)
	}
	body := make([]byte, min(n, bodyAtOnce))
	used := copy(body, w.unread)
	w.unread = w.unread[used:]
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

// bodyAtOnce is how many octets are allocated for a message before they
// arrive.
const bodyAtOnce = 64 << 10

// Read reads from the connection. After a period of silence it calls onIdle,
// once, to make the other side respond.
func (w *wire) Read(p []byte) (int, error) {
	for {
		if err := w.limitSilence(); err != nil {
			return 0, err
		}
		n, err := w.Conn.Read(p)
		if n > 0 || err == nil || w.idle == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			w.pingSent = false
			return n, err
		}
		if w.pingSent {
			return 0, errors.New("the server is silent")
		}
		w.pingSent = true
		w.onIdle()
	}
}

func (w *wire) limitSilence() error {
	switch {
	case w.idle == 0:
		return nil
	case w.pingSent:
		return w.SetReadDeadline(time.Now().Add(AliveTimeout))
	}
	return w.SetReadDeadline(time.Now().Add(w.idle))
}
