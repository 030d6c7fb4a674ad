package protocol

import (
	"strconv"
	"strings"
	"time"
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
	return t.UTC().AppendFormat(dst, TimeFormat)
}

// TimeFormat is how times are written (SIMP.md, section 6), for package time.
const TimeFormat = "2006-01-02T15:04:05.000Z07:00"

// AppendText adds a text for people, at most to the line's end.
func AppendText(dst []byte, text string) []byte {
	dst = append(dst, ' ', ':')
	return appendClean(dst, text, "")
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
	if strings.IndexFunc(value, needsQuote) < 0 {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	dst = appendClean(dst, value, `"\`)
	return append(dst, '"')
}

// needsQuote: a backslash would do without, but is quoted to be read alike by all.
func needsQuote(r rune) bool { return r <= 0x20 || r == '"' || r == '\\' || r == 0x7F }

// appendClean copies s, escapes what escape names, and puts U+FFFD in place of
// control characters and of octets that are not UTF-8.
func appendClean(dst []byte, s, escape string) []byte {
	for _, r := range s {
		switch {
		case isControl(r):
			dst = append(dst, "\uFFFD"...)
		case r < 0x80:
			if strings.IndexByte(escape, byte(r)) >= 0 {
				dst = append(dst, '\\')
			}
			dst = append(dst, byte(r))
		default:
			dst = append(dst, string(r)...)
		}
	}
	return dst
}
