package protocol

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// ParseDomain returns a domain in A-labels and small letters, as it stands
// behind the @ of an Address. Address literals are none. Errors are *Error of
// status 400.
func ParseDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return "", Errorf(StatusBadRequest, "invalid domain %s: address literals are not allowed", excerpt(s))
	}
	domain, why := parseDomain(s)
	if why != "" {
		return "", Errorf(StatusBadRequest, "invalid domain %s: %s", excerpt(s), why)
	}
	return domain, nil
}

// parseDomain reads what stands behind the @, and returns it canonical, or why
// it is no domain.
func parseDomain(s string) (domain, why string) {
	switch {
	case s == "":
		return "", "its domain is empty"
	case s[0] == '[':
		return parseLiteralDomain(s)
	case len(s) > 4*maxDomain:
		return "", "its domain is too long"
	case isPlainDomain(s):
		return strings.ToLower(s), ""
	}
	return parseIDN(s)
}

// isPlainDomain reports whether s is a domain of letters, digits and hyphens
// alone, to which IDNA would do nothing but make its letters small.
func isPlainDomain(s string) bool {
	if len(s) > maxDomain {
		return false
	}
	for s != "" {
		label, rest, more := strings.Cut(s, ".")
		if !isPlainLabel(label) || more && rest == "" {
			return false
		}
		s = rest
	}
	return true
}

func isPlainLabel(s string) bool {
	if len(s) < 1 || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	if len(s) >= 4 && s[2:4] == "--" {
		return false // perhaps an A-label: IDNA looks into it
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c != '-' && !isAlpha(s[i:i+1]) && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// profile is the IDNA profile by which domains are parsed.
var profile = idna.New(
	idna.MapForLookup(),
	idna.BidiRule(),
	idna.StrictDomainName(true),
	idna.ValidateLabels(true),
	idna.CheckHyphens(true),
	idna.CheckJoiners(true),
	idna.VerifyDNSLength(true),
)

// NeedsIDNA reports whether reading s as an address, a pattern or a domain may
// take IDNA or PRECIS, with which an octet costs about a hundred times what one
// of another address does (BenchmarkParseAddressByScript).
func NeedsIDNA(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf || s[i] == '-' && i >= 3 && s[i-1] == '-' {
			return true
		}
	}
	return false
}

// parseIDN reads a domain that may have U-labels or A-labels. What comes of it
// has to come of itself again, or two spellings could be told apart.
func parseIDN(s string) (domain, why string) {
	domain, err := profile.ToASCII(s)
	if err != nil || strings.HasSuffix(domain, ".") {
		return "", "its domain is not a valid domain name"
	}
	if again, err := profile.ToASCII(domain); err != nil || again != domain {
		return "", "its domain has no A-labels that mean the same"
	}
	return domain, ""
}

// parseLiteralDomain reads [192.0.2.1] or [IPv6:2001:db8::1]. There are no
// other address literals (RFC 5321, section 4.1.3, and IANA's registry).
func parseLiteralDomain(s string) (domain, why string) {
	const tag = "IPv6:"
	inside, ok := strings.CutSuffix(s[1:], "]")
	if !ok || len(inside) > 64 {
		return "", "its address literal does not end"
	}
	if len(inside) > len(tag) && strings.EqualFold(inside[:len(tag)], tag) {
		ip, err := netip.ParseAddr(inside[len(tag):])
		if err == nil && ip.Is6() && ip.Zone() == "" {
			return "[" + tag + ip.String() + "]", ""
		}
	} else if ip, err := netip.ParseAddr(inside); err == nil && ip.Is4() {
		return "[" + ip.String() + "]", ""
	}
	return "", "its address literal is neither [IPv4] nor [IPv6:…]"
}
