package protocol

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// Errors of ScanLine and ParseLine that leave the position in the stream in
// doubt: after one of them the connection has to be closed (section 2).
var (
	ErrLineTooLong = errors.New("no CRLF within 4096 octets")
	ErrBareCR      = errors.New("a CR that no LF follows")
	ErrBareLF      = errors.New("a LF that no CR precedes")
	ErrNUL         = errors.New("a NUL in a line")
	ErrUTF8        = errors.New("a line is not valid UTF-8")
	ErrBadLiteral  = errors.New("a last word that begins with { must be a literal")
)

// ScanLine finds the first line in buf and returns its length with the CRLF,
// or 0 if buf holds no whole line yet. Any error is final for the stream.
func ScanLine(buf []byte) (int, error) {
	lf := bytes.IndexByte(buf, '\n')
	if lf < 0 {
		if cr := bytes.IndexByte(buf, '\r'); cr >= 0 && cr < len(buf)-1 {
			return 0, ErrBareCR
		}
		if len(buf) >= MaxLine {
			return 0, ErrLineTooLong
		}
		if bytes.IndexByte(buf, 0) >= 0 {
			return 0, ErrNUL
		}
		return 0, nil
	}
	cr := bytes.IndexByte(buf[:lf], '\r')
	switch {
	case cr < 0 && lf >= MaxLine:
		return 0, ErrLineTooLong
	case cr < 0:
		return 0, ErrBareLF
	case cr != lf-1:
		return 0, ErrBareCR
	case lf >= MaxLine:
		return 0, ErrLineTooLong
	case bytes.IndexByte(buf[:cr], 0) >= 0:
		return 0, ErrNUL
	case !utf8.Valid(buf[:cr]):
		return 0, ErrUTF8
	}
	return lf + 1, nil
}
