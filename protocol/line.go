package protocol

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Line is one line of the wire, without its CRLF: a request or a response
// (SIMP.md, section 2). Its strings are parts of the string it was parsed from.
type Line struct {
	Tag     string // "*" for a notification; empty if none could be read
	Verb    string // a request's, in capitals; empty in a response
	Status  Status // a response's; 0 in a request
	Params  []Param
	Text    string // what stands behind " :"
	HasText bool
	Literal int // octets that follow the CRLF, or -1
}

// Param is one key=value. Key is in small letters, Value unquoted.
type Param struct{ Key, Value string }

// Get returns the value of the first param of that key.
func (l *Line) Get(key string) (value string, ok bool) {
	for i := range l.Params {
		if l.Params[i].Key == key {
			return l.Params[i].Value, true
		}
	}
	return "", false
}

// IsRequest tells whether the line is a request, notifications among them.
func (l *Line) IsRequest() bool { return l.Status == 0 }

// Errors of ScanLine and ParseLine that leave the position in the stream in
// doubt: after one of them the connection has to be closed (section 2).
var (
	ErrLineTooLong = errors.New("no CRLF within 4096 octets")
	ErrBareCR      = errors.New("a CR that no LF follows")
	ErrBareLF      = errors.New("a LF that no CR precedes")
	ErrNUL         = errors.New("a NUL in a line")
	ErrUTF8        = errors.New("a line is not valid UTF-8")
	ErrBadLiteral  = errors.New("a last word that begins with { is no literal")
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

// ParseLine reads s, a line without its CRLF, into l, whose Params are used
// again. ErrBadLiteral is final for the stream. Any other error is an *Error
// of status 400: the line is whole but wrong; Tag is then what could be read
// of it, and Literal what follows it and has to be dropped.
func ParseLine(s string, l *Line) error {
	*l = Line{Params: l.Params[:0], Literal: -1}
	head, err := cutLiteral(s, l)
	if err != nil {
		return err
	}
	tag, rest, more := strings.Cut(head, " ")
	if !validTag(tag) {
		return Errorf(StatusBadRequest, "no tag can be read from the line")
	}
	l.Tag = tag
	if !more {
		return Errorf(StatusBadRequest, "neither a verb nor a status follows the tag")
	}
	word, rest, more := strings.Cut(rest, " ")
	if err := l.parseSecond(word); err != nil {
		return err
	}
	for more {
		if strings.HasPrefix(rest, ":") {
			return l.parseText(rest[1:])
		}
		if rest, more, err = l.parseParam(rest); err != nil {
			return err
		}
	}
	if l.Literal >= 0 && l.Status != 0 {
		return Errorf(StatusBadRequest, "a response has no literal")
	}
	return nil
}

// cutLiteral takes the literal off the end of a line. Quotes count, and a
// text, which reaches to the end, holds none.
func cutLiteral(s string, l *Line) (string, error) {
	if !strings.Contains(s, "{") {
		return s, nil
	}
	start, words := 0, 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i = skipQuoted(s, i); i < 0 {
				return s, nil
			}
		case ' ':
			start, words = i+1, words+1
			if words > 2 && strings.HasPrefix(s[start:], ":") {
				return s, nil
			}
		}
	}
	last := s[start:]
	if !strings.HasPrefix(last, "{") {
		return s, nil
	}
	n, ok := parseLiteral(last)
	if !ok {
		return s, ErrBadLiteral
	}
	l.Literal = n
	if start == 0 {
		return "", nil
	}
	return s[:start-1], nil
}

// skipQuoted returns the place of the DQUOTE that ends the one at i, or -1.
func skipQuoted(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// parseLiteral reads {n}: decimal, no sign, no leading zero, 8 digits at most.
func parseLiteral(s string) (int, bool) {
	if len(s) < 3 || s[len(s)-1] != '}' {
		return 0, false
	}
	digits := s[1 : len(s)-1]
	if len(digits) > 8 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(digits); i++ {
		if digits[i] < '0' || digits[i] > '9' {
			return 0, false
		}
		n = 10*n + int(digits[i]-'0')
	}
	return n, true
}

func validTag(s string) bool {
	return s == "*" || len(s) >= 1 && len(s) <= MaxTag && isToken(s)
}

func (l *Line) parseSecond(word string) error {
	if len(word) == 3 && isDigits(word) {
		n, _ := strconv.Atoi(word)
		if n < 100 {
			return Errorf(StatusBadRequest, "%s is no status", word)
		}
		l.Status = Status(n)
		return nil
	}
	if len(word) < 1 || len(word) > MaxVerb || !isAlpha(word) {
		return Errorf(StatusBadRequest, "the second word is neither a verb nor a status")
	}
	l.Verb = strings.ToUpper(word)
	return nil
}

func (l *Line) parseText(text string) error {
	if i := strings.IndexFunc(text, isControl); i >= 0 {
		return Errorf(StatusBadRequest, "a control character in the text")
	}
	l.Text, l.HasText = text, true
	return nil
}

// parseParam reads the param that s begins with, and returns what follows
// the space behind it.
func (l *Line) parseParam(s string) (rest string, more bool, err error) {
	eq := strings.IndexAny(s, "= ")
	if eq < 0 || s[eq] != '=' || !validKey(s[:eq]) {
		word, _, _ := strings.Cut(s, " ")
		return "", false, Errorf(StatusBadRequest, "%s is no param: key=value is wanted", Quote(word))
	}
	key, s := strings.ToLower(s[:eq]), s[eq+1:]
	var value string
	if strings.HasPrefix(s, `"`) {
		end := skipQuoted(s, 0)
		if end < 0 {
			return "", false, Errorf(StatusBadRequest, "%s: the quote does not end", key)
		}
		if value, err = unquote(s[1:end]); err != nil {
			return "", false, Errorf(StatusBadRequest, "%s: %v", key, err)
		}
		s = s[end+1:]
		if s != "" && s[0] != ' ' {
			return "", false, Errorf(StatusBadRequest, "%s: something follows the quoted value", key)
		}
		more = s != ""
		rest = strings.TrimPrefix(s, " ")
	} else {
		value, rest, more = strings.Cut(s, " ")
		for i := 0; i < len(value); i++ {
			if c := value[i]; c < 0x21 || c == '"' || c == 0x7F {
				return "", false, Errorf(StatusBadRequest, "%s: the value wants quotes", key)
			}
		}
	}
	l.Params = append(l.Params, Param{key, value})
	return rest, more, nil
}

func validKey(s string) bool {
	if len(s) < 1 || len(s) > MaxKey || !isAlpha(s[:1]) {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isAlpha(s[i:i+1]) && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func unquote(s string) (string, error) {
	if i := strings.IndexFunc(s, isControl); i >= 0 {
		return "", errors.New("a control character in quotes")
	}
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
			if s[i] != '"' && s[i] != '\\' {
				return "", errors.New(`\ stands before neither " nor \`)
			}
		}
		b = append(b, s[i])
	}
	return string(b), nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7F }

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isAlpha(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}
