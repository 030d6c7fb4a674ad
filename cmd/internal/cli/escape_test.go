package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// TestNothingUnsafeIsLeft tries every code point of the planes that have
// characters other than ideographs.
func TestNothingUnsafeIsLeft(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) || 0x20000 <= r && r < 0xE0000 || r > 0xE1000 {
			continue
		}
		s, unsafe := string(r), unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		line := Escape(s)
		if unsafe && (line == s || strings.ContainsRune(line, r)) {
			t.Errorf("%U is left", r)
		}
		if !unsafe && line != s && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
			t.Errorf("%U is escaped: %s", r, line)
		}
		if again := Escape(line); again != line {
			t.Errorf("%U escaped twice: %s, then %s", r, line, again)
		}
		if text := EscapeText(s); text != line && text != s {
			t.Errorf("%U is %s in a text, and %s elsewhere", r, text, line)
		}
		asJSON, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		escaped, back := EscapeJSON(asJSON), ""
		if err := json.Unmarshal(escaped, &back); err != nil || back != s {
			t.Errorf("%U in JSON: %s is %q, %v", r, escaped, back, err)
		}
		if unsafe && bytes.ContainsRune(escaped, r) {
			t.Errorf("%U is left in JSON", r)
		}
	}
}

func TestEscapers(t *testing.T) {
	var out strings.Builder
	for _, w := range []io.Writer{NewEscaper(&out), NewJSONEscaper(&out)} {
		if n, err := w.Write([]byte("a\tb\x1b\u202e\r\n")); n != 9 || err != nil {
			t.Error(n, err)
		}
	}
	if got, want := out.String(), "a\tb\\x1b\\u202e\\r\n"+"a\\u0009b\\u001b\\u202e\\u000d\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestEscapes(t *testing.T) {
	for s, want := range map[string]string{
		"plain äöü 日本 👍🏽 ❤️":               "plain äöü 日本 👍🏽 ❤️",
		"\x1b[31m\a\t\r\n\x7f":             `\x1b[31m\x07\t\r\n\x7f`,
		"\u009b31m\u00ad\u200b\u200f":      `\x9b31m\xad\u200b\u200f`,
		"a\u202eb\u2066\u2028\ufeff":       `a\u202eb\u2066\u2028\ufeff`,
		"\U000e0041\U0001bca0\u3164":       `\U000e0041\U0001bca0\u3164`,
		"a\xff\xe2\x82":                    `a\xff\xe2\x82`,
		"می\u200cخواهم 👩\u200d💻 \u0600":    `می\u200cخواهم 👩\u200d💻 \u0600`,
		"\ufffd is a character of its own": "\ufffd is a character of its own",
	} {
		if got := Escape(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

// What words and emoji are made of is left in texts, and nothing else.
func TestTextsKeepTheirJoiners(t *testing.T) {
	const scotland = "\U0001F3F4\U000E0067\U000E0062\U000E0073\U000E0063\U000E0074\U000E007F"
	for s, want := range map[string]string{
		"می\u200cخواهم क\u094d\u200dष 👩\u200d💻":                       "می\u200cخواهم क\u094d\u200dष 👩\u200d💻",
		"\u0600١٢ 🏳\ufe0f\u200d🌈 " + scotland:                         "\u0600١٢ 🏳\ufe0f\u200d🌈 " + scotland,
		scotland + scotland + "\U000E0067":                            scotland + scotland + `\U000e0067`,
		"\U0001F3F4\U000E007F":                                        "\U0001F3F4" + `\U000e007f`, // no tags
		"\U0001F3F4\U000E0067 x":                                      "\U0001F3F4" + `\U000e0067 x`,
		"\U0001F3F4\U000E0041\U000E007F":                              "\U0001F3F4" + `\U000e0041\U000e007f`,
		"\U0001F600\U000E0067\U000E007F":                              "\U0001F600" + `\U000e0067\U000e007f`,
		"\U0001F3F4" + strings.Repeat("\U000E0061", 7) + "\U000E007F": "\U0001F3F4" + strings.Repeat(`\U000e0061`, 7) + `\U000e007f`,
		"a\u202eb\u200e\u061c\u2069\u200b\u00ad":                      `a\u202eb\u200e\u061c\u2069\u200b\xad`,
		"one\ntwo\x9b\u009b":                                          `one\ntwo\x9b\x9b`,
	} {
		if got := EscapeText(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}

func TestEscapersPassErrorsOn(t *testing.T) {
	full := errors.New("no space left on device")
	if n, err := NewJSONEscaper(failing{full}).Write([]byte("x")); n != 0 || !errors.Is(err, full) {
		t.Errorf("%d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
