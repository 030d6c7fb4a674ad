package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// escapeLine shows s on one line, with everything in it that a terminal would
// obey, or that would turn the direction of the text, as an escape.
func escapeLine(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case harmless(r):
			b.WriteRune(r)
		default:
			b.WriteString(escapeRune(r))
		}
		i += size
	}
	return b.String()
}

// escapeText is escapeLine for a text of several lines. The later ones are
// indented, so that none can pass for a line of this program's.
func escapeText(s string) string {
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(s, "\r\n"), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.ReplaceAll(escapeLine(strings.ReplaceAll(line, "\t", "    ")), "\n", `\n`)
	}
	return strings.Join(lines, "\n    ")
}

// harmless tells whether r is shown as it is: what can be seen, spaces, and
// the joiners that words of some scripts, and some emoji, want.
func harmless(r rune) bool {
	switch r {
	case '\u200c', '\u200d':
		return true
	}
	return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)
}

func escapeRune(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r == '\t':
		return `\t`
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}

// escapeJSON writes what escapeLine would as JSON's own escapes. It stands in
// strings, as nothing else in JSON has other than ASCII.
func escapeJSON(s string) string {
	var b strings.Builder
	for _, r := range s {
		if harmless(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
