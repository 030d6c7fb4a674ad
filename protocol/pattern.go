package protocol

import "strings"

// Pattern is what a rule speaks of: an address, @domain (its users, not its
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
// of the site's own users folded as Address.Fold does, others as
// Address.FoldCase does. own tells of the pattern's address whether its
// domain is one of the site's.
func (p Pattern) Key(own bool) Pattern {
	a, ok := p.Address()
	if !ok {
		return p
	}
	return Pattern{compareKey(a, own).s}
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
	return who == a || compareKey(who, own) == compareKey(a, own)
}

// PatternsFor returns the keys of the patterns that speak of a, the most
// specific first, for a table of rules that is looked up by Pattern.Key.
func PatternsFor(a Address, own bool) [3]Pattern {
	return [3]Pattern{{compareKey(a, own).s}, {"@" + a.Domain()}, {"*"}}
}

// RuleKey returns a in the form in which the rules of section 8 compare it (see
// Pattern.Key); own reports whether a's domain is one of the site's.
func (a Address) RuleKey(own bool) Address { return compareKey(a, own) }

func compareKey(a Address, own bool) Address {
	if !own {
		return a.FoldCase()
	}
	folded, _ := a.Fold()
	return folded
}
