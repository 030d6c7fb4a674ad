package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
	wrong   int  // lines that were skipped
}

const (
	wireBuffer = 2 * protocol.MaxLine
	maxWrong   = 1000 // lines that are whole but wrong, of one connection
)

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
			continue
		}
		malformed := protocol.ParseLine(s, &w.line)
		if errors.Is(malformed, protocol.ErrBadLiteral) {
			return nil, nil, protocolError("%v", malformed)
		}
		if malformed != nil {
			if w.wrong++; w.wrong > maxWrong {
				return nil, nil, protocolError("too many lines are wrong: %v", malformed)
			}
		}
		body, err := w.readLiteral(w.line.Literal, limit)
		if err != nil || malformed == nil {
			return &w.line, body, err
		}
	}
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
	body := make([]byte, n)
	used := copy(body, w.rest)
	w.rest = w.rest[used:]
	if _, err := io.ReadFull(w, body[used:]); err != nil {
		return nil, fmt.Errorf("in the midst of a message: %w", err)
	}
	return body, nil
}

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
