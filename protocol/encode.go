package protocol

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// The Append functions write a line piece by piece, in this order: a request
// or a response, its params, then a text or a literal, then AppendEnd. What
// they write, ParseLine reads back the same.

// AppendRequest begins a request; verb is in capitals.
func AppendRequest(dst []byte, tag, verb string) []byte {
	dst = append(dst, tag...)
	dst = append(dst, ' ')
	return append(dst, verb...)
}

// AppendResponse begins a response.
func AppendResponse(dst []byte, tag string, s Status) []byte {
	dst = append(dst, tag...)
	dst = append(dst, ' ')
	return strconv.AppendInt(dst, int64(s), 10)
}

// AppendParam adds key=value, quoted where it must be. Control characters in
// value, which no line can hold, become U+FFFD.
func AppendParam(dst []byte, key, value string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, key...)
	dst = append(dst, '=')
	return appendValue(dst, value)
}

// AppendInt adds key=n.
func AppendInt(dst []byte, key string, n uint64) []byte {
	dst = append(dst, ' ')
	dst = append(dst, key...)
	dst = append(dst, '=')
	return strconv.AppendUint(dst, n, 10)
}

// AppendTime adds key=t, in UTC with milliseconds.
func AppendTime(dst []byte, key string, t time.Time) []byte {
	dst = append(dst, ' ')
	dst = append(dst, key...)
	dst = append(dst, '=')
	return appendTime(dst, t.UTC())
}

// TimeFormat is the format of times on the wire (SIMP.md, section 6), for package time.
const TimeFormat = "2006-01-02T15:04:05.000Z07:00"

// appendTime is AppendFormat with TimeFormat for a time in UTC, in a third of
// the time: each message bears one.
func appendTime(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, TimeFormat)
	}
	hour, minute, second := t.Clock()
	dst = appendTwo(appendTwo(dst, year/100), year%100)
	dst = appendTwo(append(dst, '-'), int(month))
	dst = appendTwo(append(dst, '-'), day)
	dst = appendTwo(append(dst, 'T'), hour)
	dst = appendTwo(append(dst, ':'), minute)
	dst = appendTwo(append(dst, ':'), second)
	thousandths := t.Nanosecond() / int(time.Millisecond)
	dst = append(dst, '.', '0'+byte(thousandths/100))
	return append(appendTwo(dst, thousandths%100), 'Z')
}

// appendTwo appends two digits.
func appendTwo(dst []byte, n int) []byte {
	return append(dst, '0'+byte(n/10), '0'+byte(n%10))
}

// AppendText adds a text for people. What is longer than MaxText is cut, so
// that a line with a text in it stays a line.
func AppendText(dst []byte, text string) []byte {
	dst = append(dst, ' ', ':')
	if len(text) <= MaxText && isPrintable(text) {
		return append(dst, text...)
	}
	start := len(dst)
	for _, r := range text {
		before := len(dst)
		if dst = appendRune(dst, r); len(dst)-start > MaxText {
			return dst[:before]
		}
	}
	return dst
}

// isPrintable reports whether s is visible ASCII and spaces.
func isPrintable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] >= 0x7F {
			return false
		}
	}
	return true
}

// AppendLiteral says that n octets follow the line.
func AppendLiteral(dst []byte, n int) []byte {
	dst = append(dst, ' ', '{')
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '}')
}

// AppendEnd ends the line.
func AppendEnd(dst []byte) []byte { return append(dst, '\r', '\n') }

// Quote writes s as a value: in quotes where it needs them.
func Quote(s string) string { return string(appendValue(nil, s)) }

func appendValue(dst []byte, value string) []byte {
	if isPlain(value) {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	for _, r := range value {
		if r == '"' || r == '\\' {
			dst = append(dst, '\\')
		}
		dst = appendRune(dst, r)
	}
	return append(dst, '"')
}

// isPlain reports whether a value can stand without quotes. With a backslash it
// could, but is quoted to be read alike by all.
func isPlain(value string) bool {
	kinds := byte(plainOctet)
	for i := 0; i < len(value); i++ {
		kinds |= octetKinds[value[i]]
	}
	return kinds == plainOctet || kinds == highOctet && utf8.ValidString(value)
}

// The kinds of octets in a value.
const (
	plainOctet  = 0
	highOctet   = 1 << iota // of a character beyond ASCII
	quotedOctet             // needs quotes
)

// octetKinds has the kind of each octet: a look into it costs half of what
// comparisons do.
var octetKinds = func() (all [256]byte) {
	for i := range all {
		switch c := byte(i); {
		case c <= 0x20, c == '"', c == '\\', c == 0x7F:
			all[i] = quotedOctet
		case c >= utf8.RuneSelf:
			all[i] = highOctet
		}
	}
	return all
}()

// appendRune adds r, or U+FFFD in place of a control character. Octets that
// are not UTF-8 come as U+FFFD already.
func appendRune(dst []byte, r rune) []byte {
	if r < utf8.RuneSelf && isControl(byte(r)) {
		r = utf8.RuneError
	}
	return utf8.AppendRune(dst, r)
}
