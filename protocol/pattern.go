package protocol

import "strings"

// Pattern names those whom a rule concerns: an address, @domain (its users, not its
// subdomains'), or * (everybody). It is comparable and usable as a map's key
// (SIMP.md, section 8). The zero Pattern is none.
type Pattern struct{ s string }

// ParsePattern reads a pattern. The address or the domain in it becomes
// canonical as ParseAddress makes it. Errors are *Error of status 400.
func ParsePattern(s string) (Pattern, error) {
	if s == "*" {
		return Pattern{s}, nil
	}
	if name, ok := strings.CutPrefix(s, "@"); ok {
		domain, why := parseDomain(name)
		if why != "" {
			return Pattern{}, Errorf(StatusBadRequest, "invalid pattern %s: %s", excerpt(s), why)
		}
		return Pattern{"@" + domain}, nil
	}
	a, err := ParseAddress(s)
	if err != nil {
		return Pattern{}, Errorf(StatusBadRequest, "invalid pattern %s: must be an address, @domain or *", excerpt(s))
	}
	return Pattern(a), nil
}

// String returns the pattern as it is written; "" for the zero Pattern.
func (p Pattern) String() string { return p.s }

// IsZero reports whether p is no pattern at all.
func (p Pattern) IsZero() bool { return p.s == "" }

// Address returns the address that p speaks of, if it is one.
func (p Pattern) Address() (a Address, ok bool) {
	if p.s == "" || p.s == "*" || p.s[0] == '@' {
		return Address{}, false
	}
	return Address(p), true
}

// Domain returns the domain that p speaks of, if it is @domain.
func (p Pattern) Domain() (domain string, ok bool) { return strings.CutPrefix(p.s, "@") }

// Key returns the pattern in the form in which patterns compare: an address
// of the site's own users folded as Address.PRECISFold does, others as
// Address.CaseFold does. own tells of the pattern's address whether its
// domain is one of the site's.
func (p Pattern) Key(own bool) Pattern {
	a, ok := p.Address()
	if !ok {
		return p
	}
	return Pattern{a.RuleKey(own).s}
}

// Matches reports whether p speaks of a; own reports whether a's domain is one of
// the site's.
func (p Pattern) Matches(a Address, own bool) bool {
	if p.s == "*" {
		return true
	}
	if domain, ok := p.Domain(); ok {
		return domain == a.Domain()
	}
	who, ok := p.Address()
	if !ok || who.Domain() != a.Domain() {
		return false
	}
	return who == a || who.RuleKey(own) == a.RuleKey(own)
}

// RuleKey returns a in the form in which the rules of section 8 compare it (see
// Pattern.Key); own reports whether a's domain is one of the site's.
func (a Address) RuleKey(own bool) Address {
	if !own {
		return a.CaseFold()
	}
	folded, _ := a.PRECISFold()
	return folded
}

// CanonicalPattern returns the pattern that s, written by Pattern.String, is;
// see CanonicalAddress.
func CanonicalPattern(s string) Pattern { return Pattern{s} }
