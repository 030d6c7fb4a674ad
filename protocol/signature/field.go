package signature

import (
	"bytes"
	"errors"
)

// FieldName is the name of the header field that holds a signature.
const FieldName = "SIMP-Signature"

// Errors of a message whose signature is bad because of where it stands.
var (
	errNotFirst   = errors.New("the signature is not the first header field")
	errTwoFields  = errors.New("the message has two signatures")
	errInexact    = errors.New("the signature's header field does not begin with " + FieldName + ", a colon and a space")
	errUnfinished = errors.New("the signature's header field does not end with CRLF")
)

// field is a message's signature field: its value, and all octets that follow
// it, which are signed.
type field struct {
	value   []byte
	payload []byte
}

// splitField finds the signature field of an entity; ok is false if it has
// none. A field that is not the first, is there twice, or is folded over two
// lines is an error.
func splitField(entity []byte) (f field, ok bool, err error) {
	lines, count, first := entity, 0, true
	for {
		line, rest := cutLine(lines)
		if len(line) == 0 { // the header ends, or the entity does
			break
		}
		if isField(line) {
			if count++; !first && count == 1 {
				return field{}, true, errNotFirst
			}
		}
		lines, first = rest, false
	}
	switch {
	case count == 0:
		return field{}, false, nil
	case count > 1:
		return field{}, true, errTwoFields
	}
	line, payload, ends := bytes.Cut(entity, []byte("\r\n"))
	if !ends || bytes.ContainsAny(line, "\r\n") || len(payload) > 0 && (payload[0] == ' ' || payload[0] == '\t') {
		return field{}, true, errUnfinished
	}
	value, exact := bytes.CutPrefix(line, []byte(FieldName+": "))
	if !exact {
		return field{}, true, errInexact
	}
	return field{value: value, payload: payload}, true, nil
}

// cutLine returns the first line, without its end, and what follows. CRLF, LF
// and CR alone end a line: what any reader takes for a header field must not
// escape this one.
func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexAny(b, "\r\n")
	if i < 0 {
		return b, nil
	}
	if b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' {
		return b[:i], b[i+2:]
	}
	return b[:i], b[i+1:]
}

// isField reports whether a reader could take a header line for a signature
// field. Names are compared without case, in ASCII alone.
func isField(line []byte) bool {
	name, _, colon := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !colon || len(name) != len(FieldName) {
		return false
	}
	for i := range name {
		if asciiLower(name[i]) != asciiLower(FieldName[i]) {
			return false
		}
	}
	return true
}

func asciiLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
