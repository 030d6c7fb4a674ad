package netaddr

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSourceAndNetwork(t *testing.T) {
	for _, c := range []struct{ addr, source, network string }{
		{"198.51.100.7", "198.51.100.7/32", "198.51.100.0/24"},
		{"::ffff:198.51.100.7", "198.51.100.7/32", "198.51.100.0/24"},
		{"2a00:1:2:3:4:5:6:7", "2a00:1:2:3::/64", "2a00:1:2::/48"},
		{"fe80::1%eth0", "fe80::/64", "fe80::/48"},
	} {
		a := netip.MustParseAddr(c.addr)
		if s, n := Source(a).String(), Network(a).String(); s != c.source || n != c.network {
			t.Errorf("%s: source %s, network %s; want %s, %s", c.addr, s, n, c.source, c.network)
		}
	}
	if Source(netip.Addr{}).IsValid() || Network(netip.Addr{}).IsValid() {
		t.Error("an address that is none has a source")
	}
}

func TestIsPublic(t *testing.T) {
	public := `1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.0.1.0 198.17.255.255 198.20.0.0
		223.255.255.255 2a00:1450::1 2600::1 2001:200::1 2001:4860::8888 64:ff9b::101:101 2002:101:101::1 ::ffff:8.8.8.8 3ffe::1`
	inner := `0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.0 100.127.255.255 127.0.0.1 127.9.9.9 169.254.169.254 172.16.0.0 172.31.255.255
		192.0.0.1 192.0.0.255 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.1.1 192.175.48.1 198.18.0.0 198.19.255.255
		198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
		:: ::1 ::2 ::7f00:1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b:1::1 64:ff9b:0:0:0:1:808:808
		100::1 2001::1 2001:1::1 2001:1ff:ffff::1 2001:db8::1 2002:a00:1::1 2002:7f00:1::1 2002:c0a8:101::1 2620:4f:8000::1
		3fff::1 3fff:fff::1 4000::1 5f00::1 fc00::1 fd12::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1`
	check := func(list string, want bool) {
		for a := range strings.FieldsSeq(list) {
			if got := IsPublic(netip.MustParseAddr(a)); got != want {
				t.Errorf("IsPublic(%s) = %v", a, got)
			}
		}
	}
	check(public, true)
	check(inner, false)
	if IsPublic(netip.Addr{}) {
		t.Error("an address that is none is public")
	}
}

func TestRegistrable(t *testing.T) {
	for domain, want := range map[string]string{
		"a.b.example.co.uk": "example.co.uk", "example.com": "example.com", "x.example.com": "example.com",
		"com": "com", "localhost": "localhost", "a.localhost": "a.localhost", "": "",
		"a.b.xn--bcher-kva.example": "xn--bcher-kva.example",
	} {
		if got := Registrable(domain); got != want {
			t.Errorf("%q: %q, want %q", domain, got, want)
		}
	}
}
