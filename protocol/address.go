package protocol

import (
	"cmp"
	"strings"
)

// Address is an Instant Message Address, parsed once: comparable, usable as a
// map's key, and always a valid local@domain, the domain in A-labels and small
// letters (SIMP.md, section 11). The zero Address is none.
type Address struct{ s string }

// ParseAddress reads an IMA. The local part is kept as given, but for quotes
// that it does not need. Errors are *Error of status 400.
func ParseAddress(s string) (Address, error) {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 {
		return Address{}, Errorf(StatusBadRequest, "%s is no address", Quote(s))
	}
	return Address{s[:at+1] + strings.ToLower(s[at+1:])}, nil
}

// Fold returns the address with its local part as PRECIS UsernameCaseMapped
// makes it: how the addresses of a site's own users compare. An address whose
// local part can't be a user's name is returned as it is, with ok false.
func (a Address) Fold() (folded Address, ok bool) { return a, true }

func (a Address) String() string { return a.s }

// IsZero tells whether a is no address at all.
func (a Address) IsZero() bool { return a.s == "" }

// Local returns the part before the last @.
func (a Address) Local() string { return a.s[:max(0, strings.LastIndexByte(a.s, '@'))] }

// Domain returns the part after the last @.
func (a Address) Domain() string { return a.s[strings.LastIndexByte(a.s, '@')+1:] }

// Compare orders addresses by their octets.
func (a Address) Compare(b Address) int { return cmp.Compare(a.s, b.s) }

// ParseDomain returns a domain in A-labels and small letters; errors are *Error of status 400.
func ParseDomain(s string) (string, error) { return strings.ToLower(s), nil }

// Pattern is what a rule speaks of: an address, @domain, or *.
type Pattern struct{ s string }

// ParsePattern reads a pattern. Errors are *Error of status 400.
func ParsePattern(s string) (Pattern, error) { return Pattern{s}, nil }

func (p Pattern) String() string { return p.s }
