// Package netaddr says of network addresses and domains what counts as one
// party, and which addresses the public internet leads to.
package netaddr

import "net/netip"

// Source returns what counts as one source of connections: an IPv4 address, or
// the /64 of an IPv6 address, which is what one customer has at least. An IPv4
// address within IPv6 (::ffff:0:0/96) is the IPv4 address; zones don't count.
// Of the zero Addr it is the zero Prefix.
func Source(a netip.Addr) netip.Prefix { return prefix(a, 32, 64) }

// Network returns what is above a source, as one party often has many of them:
// the /24 of an IPv4 address, or the /48 of an IPv6 address. Of the zero Addr
// it is the zero Prefix.
func Network(a netip.Addr) netip.Prefix { return prefix(a, 24, 48) }

func prefix(a netip.Addr, bits4, bits6 int) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := bits6
	if a.Is4() {
		bits = bits4
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// IsPublic reports whether the public internet leads to a. It does not to the
// blocks of the IANA IPv4 and IPv6 special-purpose address registries (RFC
// 6890), to multicast, to unallocated IPv6, and to deprecated ranges. Where an
// IPv6 address leads to an IPv4 address that it holds (IPv4-mapped RFC 4291,
// NAT64 RFC 6052, 6to4 RFC 3056), that address decides.
func IsPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return false
	case a.Is4():
		return !isWithin(a, special4)
	case nat64.Contains(a):
		return IsPublic(embedded(a, 12))
	case sixToFour.Contains(a):
		return IsPublic(embedded(a, 2))
	}
	return globalUnicast6.Contains(a) && !isWithin(a, special6)
}

// embedded returns the IPv4 address in a that begins at octet i.
func embedded(a netip.Addr, i int) netip.Addr {
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[i : i+4]))
}

func isWithin(a netip.Addr, blocks []netip.Prefix) bool {
	for _, p := range blocks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

var (
	nat64          = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour      = netip.MustParsePrefix("2002::/16")
	globalUnicast6 = netip.MustParsePrefix("2000::/3") // all that IANA has allocated of IPv6
)

// special4 are the blocks of the IANA IPv4 special-purpose address registry,
// also those few within them that are reachable, as no mail or message server
// is there, and multicast.
var special4 = parse(
	"0.0.0.0/8",       // "this network" (RFC 791)
	"10.0.0.0/8",      // private use (RFC 1918)
	"100.64.0.0/10",   // shared address space (RFC 6598)
	"127.0.0.0/8",     // loopback (RFC 1122)
	"169.254.0.0/16",  // link local (RFC 3927)
	"172.16.0.0/12",   // private use (RFC 1918)
	"192.0.0.0/24",    // IETF protocol assignments (RFC 6890)
	"192.0.2.0/24",    // documentation, TEST-NET-1 (RFC 5737)
	"192.31.196.0/24", // AS112 (RFC 7535)
	"192.52.193.0/24", // AMT (RFC 7450)
	"192.88.99.0/24",  // deprecated 6to4 relay anycast (RFC 7526)
	"192.168.0.0/16",  // private use (RFC 1918)
	"192.175.48.0/24", // AS112 (RFC 7534)
	"198.18.0.0/15",   // benchmarking (RFC 2544)
	"198.51.100.0/24", // documentation, TEST-NET-2 (RFC 5737)
	"203.0.113.0/24",  // documentation, TEST-NET-3 (RFC 5737)
	"224.0.0.0/4",     // multicast (RFC 5771)
	"240.0.0.0/4",     // reserved (RFC 1112), with limited broadcast
)

// special6 are the blocks of the IANA IPv6 special-purpose address registry
// that lie in 2000::/3, also those few within them that are reachable.
var special6 = parse(
	"2001::/23",         // IETF protocol assignments (RFC 2928), with Teredo
	"2001:db8::/32",     // documentation (RFC 3849)
	"2620:4f:8000::/48", // AS112 (RFC 7534)
	"3fff::/20",         // documentation (RFC 9637)
)

func parse(blocks ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(blocks))
	for i, s := range blocks {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}
