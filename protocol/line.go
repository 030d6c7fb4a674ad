package protocol

import (
	"strconv"
	"strings"
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

// Repeated returns a key that is given more than once and may not be: any but
// to, ima and by.
func (l *Line) Repeated() (key string, ok bool) {
	const few = 8 // params, up to which a map would cost more than it spares
	if len(l.Params) > few {
		return l.repeatedOfMany()
	}
	for i, p := range l.Params {
		for _, q := range l.Params[:i] {
			if p.Key == q.Key && !mayRepeat(p.Key) {
				return p.Key, true
			}
		}
	}
	return "", false
}

func (l *Line) repeatedOfMany() (key string, ok bool) {
	seen := make(map[string]bool)
	for _, p := range l.Params {
		if mayRepeat(p.Key) {
			continue
		}
		if seen[p.Key] {
			return p.Key, true
		}
		seen[p.Key] = true
	}
	return "", false
}

func mayRepeat(key string) bool { return key == "to" || key == "ima" || key == "by" }

// IsRequest reports whether the line is a request, notifications among them.
func (l *Line) IsRequest() bool { return l.Status == 0 }

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
	if l.Literal >= 0 && !l.IsRequest() {
		return Errorf(StatusBadRequest, "a response has no literal")
	}
	return l.parseRest(rest, more)
}

// parseRest reads the params and the text; more tells that there is something.
func (l *Line) parseRest(rest string, more bool) (err error) {
	for more {
		if strings.HasPrefix(rest, ":") {
			return l.parseText(rest[1:])
		}
		if rest, more, err = l.parseParam(rest); err != nil {
			return err
		}
	}
	return nil
}

func validTag(s string) bool {
	return s == "*" || len(s) >= 1 && len(s) <= MaxTag && isToken(s)
}

func (l *Line) parseSecond(word string) error {
	if len(word) == 3 && isDigits(word) {
		n, _ := strconv.Atoi(word)
		if n < 100 {
			return Errorf(StatusBadRequest, "invalid status %s", word)
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
	if hasControl(text) {
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
		return "", false, Errorf(StatusBadRequest, "invalid param %s: must be key=value", excerpt(word))
	}
	key, s := strings.ToLower(s[:eq]), s[eq+1:]
	value, rest, more, why := cutValue(s)
	if why != "" {
		return "", false, Errorf(StatusBadRequest, "%s: %s", key, why)
	}
	l.Params = append(l.Params, Param{key, value})
	return rest, more, nil
}
