package protocol

import (
	"cmp"
	"strings"
)

// Address is an Instant Message Address, parsed once: comparable, usable as a
// map's key, and always a valid local@domain, the domain in A-labels and small
// letters (SIMP.md, section 11). The zero Address is none.
type Address struct{ s string }

// ParseAddress reads an IMA: an RFC 5321 Mailbox with RFC 6531's UTF-8. The
// local part is kept as given, but for quotes that it does not need; the
// domain becomes small A-labels. It takes linear time, and short time
// whatever the length. Errors are *Error of status 400.
func ParseAddress(s string) (Address, error) {
	if len(s) > maxRawAddress {
		return Address{}, badAddress(s, "it is too long")
	}
	at := localEnd(s)
	if at < 0 || at >= len(s) || s[at] != '@' {
		return Address{}, badAddress(s, "must be local@domain")
	}
	local, why := parseLocal(s[:at])
	if why != "" {
		return Address{}, badAddress(s, why)
	}
	domain, why := parseDomain(s[at+1:])
	if why != "" {
		return Address{}, badAddress(s, why)
	}
	return join(s, local, domain)
}

// maxRawAddress bounds what is looked at: a local part of 64 octets has at
// most 130 before its needless quotes are taken off, and a domain of 253 in
// A-labels is shorter than four times that in any other spelling.
const maxRawAddress = 130 + 1 + 4*maxDomain

// join makes the address of its checked parts, of s itself where that is the
// same, so that a canonical address costs nothing.
func join(s, local, domain string) (Address, error) {
	if len(local)+1+len(domain) > MaxAddress {
		return Address{}, badAddress(s, "it has more than 254 octets")
	}
	if len(s) == len(local)+1+len(domain) && s[:len(local)] == local && s[len(local)+1:] == domain {
		return Address{s}, nil
	}
	return Address{local + "@" + domain}, nil
}

func badAddress(s, why string) error {
	return Errorf(StatusBadRequest, "invalid address %s: %s", excerpt(s), why)
}

// excerpt quotes what was given for an error's text, cut where it is long.
func excerpt(s string) string {
	const most = 64
	if s == "" {
		return `""`
	}
	if len(s) > most {
		return Quote(strings.ToValidUTF8(s[:most], "") + "…")
	}
	return Quote(s)
}

// String returns local@domain; "" for the zero Address.
func (a Address) String() string { return a.s }

// IsZero reports whether a is no address at all.
func (a Address) IsZero() bool { return a.s == "" }

// Local returns the part before the last @, with its quotes if it needs them.
func (a Address) Local() string { return a.s[:max(0, strings.LastIndexByte(a.s, '@'))] }

// Domain returns the part after the last @: A-labels, or an address literal.
func (a Address) Domain() string { return a.s[strings.LastIndexByte(a.s, '@')+1:] }

// IsLiteral reports whether the domain is an address literal such as
// [192.0.2.1], to which no route leads.
func (a Address) IsLiteral() bool { return strings.HasSuffix(a.s, "]") }

// Compare orders addresses by their octets.
func (a Address) Compare(b Address) int { return cmp.Compare(a.s, b.s) }

// CanonicalAddress returns the address that s, written by Address.String, is.
// Unlike ParseAddress it checks nothing and costs nothing: it is for what was
// parsed before it was stored, never for what a stranger sent.
func CanonicalAddress(s string) Address { return Address{s} }
