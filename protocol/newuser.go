package protocol

import (
	"strings"
	"unicode"
)

// CheckNewUser tells whether a may be the address of a new account: a must be
// folded as Address.Fold does it, and its local part must not be made to be
// taken for another's. It refuses, after Unicode Technical Standard 39:
//
//   - scripts that no language mixes (Latin may stand beside Chinese, Japanese
//     or Korean ones: the "highly restrictive" level);
//   - digits of two systems of numerals;
//   - a dot above a letter that has one;
//   - a name of Cyrillic letters alone that look like Latin ones.
//
// It has no table of all confusable characters: two names of one script that
// look alike are not found. It is for registration only; an account that
// exists is valid whatever this says. Errors are *Error of status 400.
func CheckNewUser(a Address) error {
	folded, ok := a.Fold()
	if !ok || a.IsLiteral() {
		return Errorf(StatusBadRequest, "%s can't be a user's address", excerpt(a.s))
	}
	local := folded.Local()
	switch {
	case mixesScripts(local):
		return Errorf(StatusBadRequest, "%s mixes scripts, and could be taken for another address", excerpt(a.s))
	case mixesDigits(local):
		return Errorf(StatusBadRequest, "%s mixes digits of different scripts", excerpt(a.s))
	case looksLatin(local) || hasDoubleDot(local):
		return Errorf(StatusBadRequest, "%s could be taken for another address", excerpt(a.s))
	}
	return nil
}

// mixesScripts tells whether the letters of s belong to scripts that are not
// written together.
func mixesScripts(s string) bool {
	found := map[string]bool{}
	for _, r := range s {
		if script := scriptOf(r); script != "" {
			found[script] = true
		}
	}
	if len(found) <= 1 {
		return false
	}
	for _, together := range [][]string{
		{"Latin", "Han", "Hiragana", "Katakana"},
		{"Latin", "Han", "Bopomofo"},
		{"Latin", "Han", "Hangul"},
	} {
		if within(found, together) {
			return false
		}
	}
	return true
}

// scriptOf names the script of r; "" if r belongs to none or to all.
func scriptOf(r rune) string {
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return ""
}

func within(found map[string]bool, allowed []string) bool {
	n := 0
	for _, name := range allowed {
		if found[name] {
			n++
		}
	}
	return n == len(found)
}

// mixesDigits tells whether s has decimal digits of two systems.
func mixesDigits(s string) bool {
	zero := rune(-1)
	for _, r := range s {
		if !unicode.Is(unicode.Nd, r) {
			continue
		}
		z := zeroOf(r)
		if zero >= 0 && z != zero {
			return true
		}
		zero = z
	}
	return false
}

// zeroOf returns the first of the run of digits that r is in, told by what
// stands before it; runs that touch count as one.
func zeroOf(r rune) rune {
	for unicode.Is(unicode.Nd, r-1) {
		r--
	}
	return r
}

// looksLatin tells whether all letters of s are Cyrillic ones that look like
// Latin letters, as in a name that imitates a Latin one as a whole.
func looksLatin(s string) bool {
	const alike = "асԁеһіјӏорԛѕԝхуүҽѵ"
	some := false
	for _, r := range s {
		switch {
		case !unicode.IsLetter(r):
		case strings.ContainsRune(alike, r):
			some = true
		default:
			return false
		}
	}
	return some
}

// hasDoubleDot tells whether a combining dot stands above an i or a j, where
// it can't be seen.
func hasDoubleDot(s string) bool {
	return strings.Contains(s, "i\u0307") || strings.Contains(s, "j\u0307")
}
