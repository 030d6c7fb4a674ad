package protocol

import (
	"strconv"
	"strings"
)

// cutLiteral takes the literal off the end of a line and puts it into l.
func cutLiteral(s string, l *Line) (head string, err error) {
	start := lastWord(s)
	if start < 0 || start == len(s) || s[start] != '{' {
		return s, nil
	}
	n, ok := parseLiteral(s[start:])
	if !ok {
		return s, ErrBadLiteral
	}
	l.Literal = n
	return s[:max(0, start-1)], nil
}

// lastWord returns where the last word of a line begins that may be a literal,
// or -1. Spaces in quotes divide no words, and a text, which reaches to the
// end, has none.
func lastWord(s string) int {
	if strings.IndexByte(s, '{') < 0 {
		return -1
	}
	if strings.IndexByte(s, '"') < 0 && !strings.Contains(s, " :") {
		return strings.LastIndexByte(s, ' ') + 1
	}
	start, words := 0, 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i = skipQuoted(s, i); i < 0 {
				return -1
			}
		case ' ':
			start, words = i+1, words+1
			if words > 2 && strings.HasPrefix(s[start:], ":") {
				return -1
			}
		}
	}
	return start
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
	if len(digits) > 8 || !isDigits(digits) || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
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

// cutValue reads the value that s begins with, and returns what follows the
// space behind it, or why it is no value.
func cutValue(s string) (value, rest string, more bool, why string) {
	if strings.HasPrefix(s, `"`) {
		return cutQuoted(s)
	}
	value, rest, more = strings.Cut(s, " ")
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < 0x21 || c == '"' || c == 0x7F {
			return "", "", false, "the value must be quoted"
		}
	}
	return value, rest, more, ""
}

func cutQuoted(s string) (value, rest string, more bool, why string) {
	end := skipQuoted(s, 0)
	if end < 0 {
		return "", "", false, "the quote does not end"
	}
	if value, why = unquote(s[1:end]); why != "" {
		return "", "", false, why
	}
	rest = s[end+1:]
	if rest == "" {
		return value, "", false, ""
	}
	if rest[0] != ' ' {
		return "", "", false, "something follows the quoted value"
	}
	return value, rest[1:], true, ""
}

// unquote takes the backslashes out of what stands between quotes.
func unquote(s string) (value, why string) {
	if hasControl(s) {
		return "", "a control character in quotes"
	}
	if strings.IndexByte(s, '\\') < 0 {
		return s, ""
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++ // skipQuoted has seen to it that something follows
			if s[i] != '"' && s[i] != '\\' {
				return "", `\ stands before neither " nor \`
			}
		}
		b = append(b, s[i])
	}
	return string(b), ""
}

// hasControl reports whether s has one of ASCII's control characters.
func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if isControl(s[i]) {
			return true
		}
	}
	return false
}

func isControl(c byte) bool { return c < 0x20 || c == 0x7F }

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
