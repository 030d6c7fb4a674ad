package netaddr

import "golang.org/x/net/publicsuffix"

// Registrable returns the domain under which somebody has registered domain,
// such as example.co.uk for a.b.example.co.uk: whoever holds that makes all
// names below it. A public suffix (publicsuffix.org), and a name without a dot,
// stands for itself.
func Registrable(domain string) string {
	if registered, err := publicsuffix.EffectiveTLDPlusOne(domain); err == nil {
		return registered
	}
	return domain
}
