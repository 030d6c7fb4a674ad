package protocol

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// PRECISFold returns the address with its local part as PRECIS UsernameCaseMapped
// (RFC 8265) makes it: how the addresses of a site's own users compare. An
// address whose local part can't be a user's name (it stays quoted, or PRECIS
// refuses it) is returned as it is, with ok false. Folding again changes
// nothing.
func (a Address) PRECISFold() (folded Address, ok bool) {
	local := a.Local()
	if local == "" || local[0] == '"' {
		return a, false
	}
	if isFolded(local) {
		return a, true
	}
	if isASCII(local) {
		return Address{strings.ToLower(local) + "@" + a.Domain()}, true // as PRECIS would, which costs a hundred times as much
	}
	mapped, ok := foldUser(local)
	if !ok || len(mapped)+1+len(a.Domain()) > MaxAddress {
		return a, false
	}
	return Address{mapped + "@" + a.Domain()}, true
}

// isFolded reports whether s is ASCII without capitals, which PRECIS leaves alone.
func isFolded(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// foldUser applies the profile until nothing changes any more, at most four
// times (RFC 8264, section 7). A mapping may bring forth what is no local part
// any more: a wide full stop becomes a dot, a wide at sign an @.
func foldUser(local string) (string, bool) {
	for range 4 {
		mapped, err := precis.UsernameCaseMapped.String(local)
		if err != nil || len(mapped) > maxLocal || checkDotAtom(mapped) != "" {
			return "", false
		}
		if mapped == local {
			return local, true
		}
		local = mapped
	}
	return "", false
}

// CaseFold returns the address with its local part in a form in which local
// parts that differ in case alone are the same octets: how the rules of
// section 8 compare the addresses of other sites' users. It is a key for
// comparing, not an address to send to.
func (a Address) CaseFold() Address {
	local := a.Local()
	if isFolded(local) {
		return a
	}
	return Address{strings.Map(foldRune, norm.NFC.String(local)) + "@" + a.Domain()}
}

// foldRune returns one and the same rune, a small letter where there is one,
// for all that differ in case alone.
func foldRune(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	small := unicode.ToLower(least)
	if small < utf8.RuneSelf && least >= utf8.RuneSelf {
		return least // a Turkish I with a dot, which is not the same as an i
	}
	return small
}
