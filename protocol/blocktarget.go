package protocol

import (
	"net/netip"
	"strings"
)

// BlockTarget names whom an operator's block concerns: an address, @domain (its
// users, not its subdomains'), or a range of source addresses. It is comparable
// and usable as a map's key. The zero BlockTarget is none.
type BlockTarget struct{ s string }

// ParseBlockTarget reads a target: an IMA, @domain, an IP address, or a range of
// them in CIDR notation. An IPv4 address that is written as an IPv6 one is that
// IPv4 address. Errors are *Error of status 400.
func ParseBlockTarget(s string) (BlockTarget, error) {
	if !strings.Contains(s, "@") {
		return parseRange(s)
	}
	p, err := ParsePattern(s)
	if err != nil {
		return BlockTarget{}, Errorf(StatusBadRequest, "invalid target %s: must be an address, @domain or a range of IP addresses", excerpt(s))
	}
	return BlockTarget(p), nil
}

func parseRange(s string) (BlockTarget, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return rangeTarget(netip.PrefixFrom(a, a.BitLen())), nil
	}
	r, err := netip.ParsePrefix(s)
	if err != nil {
		return BlockTarget{}, Errorf(StatusBadRequest, "invalid target %s: must be an address, @domain or a range of IP addresses, such as 192.0.2.0/24", excerpt(s))
	}
	if r.Masked() != r {
		return BlockTarget{}, Errorf(StatusBadRequest, "invalid range %s: it would be %s", excerpt(s), r.Masked())
	}
	return rangeTarget(r), nil
}

// mappedBits is the length of the prefix of IPv4 addresses within IPv6.
const mappedBits = 96

// rangeTarget returns the target of a range, which is masked. A single address is
// written without a length.
func rangeTarget(r netip.Prefix) BlockTarget {
	if r.Addr().Is4In6() && r.Bits() >= mappedBits {
		r = netip.PrefixFrom(r.Addr().Unmap(), r.Bits()-mappedBits)
	}
	if r.IsSingleIP() {
		return BlockTarget{r.Addr().String()}
	}
	return BlockTarget{r.String()}
}

// CanonicalBlockTarget returns the target that s, written by BlockTarget.String,
// is.
func CanonicalBlockTarget(s string) BlockTarget { return BlockTarget{s} }

// String returns the target as it is written; "" for the zero BlockTarget.
func (t BlockTarget) String() string { return t.s }

// IsZero reports whether t is no target at all.
func (t BlockTarget) IsZero() bool { return t.s == "" }

// Pattern returns the address or domain that t names, if it names one.
func (t BlockTarget) Pattern() (p Pattern, ok bool) {
	if !strings.Contains(t.s, "@") {
		return Pattern{}, false
	}
	return Pattern(t), true
}

// Range returns the source addresses that t names, if it names some. IPv4
// addresses are not in an IPv6 range.
func (t BlockTarget) Range() (r netip.Prefix, ok bool) {
	if t.s == "" || strings.Contains(t.s, "@") {
		return netip.Prefix{}, false
	}
	if a, err := netip.ParseAddr(t.s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	r, err := netip.ParsePrefix(t.s)
	return r, err == nil
}

// Key returns the target in the form in which targets compare; see Pattern.Key.
func (t BlockTarget) Key(own bool) BlockTarget {
	p, ok := t.Pattern()
	if !ok {
		return t
	}
	return BlockTarget(p.Key(own))
}
