package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape returns s for one line of a terminal or a log: everything that a
// terminal obeys, that breaks or turns lines, or that cannot be seen is written
// as an escape such as \n, \x1b, \u202e or \U000e0001, and an octet that is not
// UTF-8 as \xff. These are the control characters (Cc, with C1), the format
// characters (Cf, with bidirectional controls, joiners, soft hyphens and tags),
// the line and paragraph separators (Zl, Zp), and the other code points that
// are ignored by default. What is escaped already stays as it is.
func Escape(s string) string {
	return escape(s, isUnsafe, appendEscape)
}

// EscapeText is Escape for one line of what a person has written to people, a
// message or a note. It leaves those format characters that words and emoji are
// made of and that change nothing around them:
//
//   - ZWNJ and ZWJ (U+200C, U+200D), which Persian, Hindi and others need, and
//     which join emoji;
//   - the signs that enclose numbers, such as U+0600 and U+06DD, which are seen;
//   - the tags (U+E0020 to U+E007F) of one flag, behind U+1F3F4 (UTS 51, ED-14a).
//
// Variation selectors are marks (Mn), not format characters, and stay as well;
// so do the letters and marks that are ignored by default, such as Hangul
// fillers. All bidirectional controls are escaped, also the harmless LRM and
// RLM: a terminal shows the line in the order in which it was written.
func EscapeText(s string) string {
	var b strings.Builder
	for s != "" {
		at := strings.IndexRune(s, blackFlag)
		if at < 0 {
			break
		}
		end := at + utf8.RuneLen(blackFlag)
		flag := flagTags(s[end:])
		b.WriteString(escape(s[:end], isUnsafeText, appendEscape))
		b.WriteString(s[end : end+flag])
		s = s[end+flag:]
	}
	b.WriteString(escape(s, isUnsafeText, appendEscape))
	return b.String()
}

// EscapeJSON returns a JSON text with everything that Escape would escape
// written as \u escapes, which mean the same in JSON. All of that stands in
// strings, but for line feeds between values, which stay.
func EscapeJSON(text []byte) []byte {
	return []byte(escape(string(text), func(r rune) bool { return r != '\n' && isUnsafe(r) }, appendJSONEscape))
}

// NewEscaper returns a writer that escapes what Escape does, but for line feeds
// and tabs. It is for programs that print no escape sequences of their own. Each
// Write has to hold whole characters. It is as safe for several goroutines as w.
func NewEscaper(w io.Writer) io.Writer {
	return escaper{w, func(s string) string {
		return escape(s, func(r rune) bool { return r != '\n' && r != '\t' && isUnsafe(r) }, appendEscape)
	}}
}

// NewJSONEscaper is NewEscaper for JSON texts, as EscapeJSON.
func NewJSONEscaper(w io.Writer) io.Writer {
	return escaper{w, func(s string) string { return string(EscapeJSON([]byte(s))) }}
}

type escaper struct {
	to     io.Writer
	escape func(string) string
}

// Write writes p escaped. On an error it says that nothing of p was written.
func (e escaper) Write(p []byte) (int, error) {
	if _, err := io.WriteString(e.to, e.escape(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// invalid stands for an octet that is not UTF-8: no code point is negative.
const invalid = -1

func escape(s string, unsafe func(rune) bool, write func(*strings.Builder, rune, byte)) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unsafe) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			write(&b, invalid, s[i])
		case unsafe(r):
			write(&b, r, 0)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func isUnsafe(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
}

func isUnsafeText(r rune) bool {
	switch {
	case r == '\u200c', r == '\u200d', unicode.Is(unicode.Prepended_Concatenation_Mark, r):
		return false
	}
	return isUnsafe(r) && !unicode.In(r, unicode.L, unicode.M)
}

const (
	blackFlag = '\U0001F3F4'
	cancelTag = '\U000E007F'
	maxTags   = 6 // letters and digits of a subdivision (ISO 3166-2 without hyphen)
)

// flagTags returns how many octets at the beginning of s are the tags of a
// flag: lower-case letters and digits, and their end. 0: there are none.
func flagTags(s string) int {
	tags := 0
	for i, r := range s {
		switch {
		case r == cancelTag && tags > 0:
			return i + utf8.RuneLen(r)
		case tags == maxTags, !('\U000E0030' <= r && r <= '\U000E0039' || '\U000E0061' <= r && r <= '\U000E007A'):
			return 0
		}
		tags++
	}
	return 0
}

func appendEscape(b *strings.Builder, r rune, octet byte) {
	switch {
	case r == invalid:
		fmt.Fprintf(b, `\x%02x`, octet)
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < 0x100:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}

func appendJSONEscape(b *strings.Builder, r rune, _ byte) {
	if r == invalid { // JSON has no octets
		r = utf8.RuneError
	}
	for _, unit := range utf16.Encode([]rune{r}) {
		fmt.Fprintf(b, `\u%04x`, unit)
	}
}
