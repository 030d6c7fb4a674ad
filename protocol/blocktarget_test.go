package protocol

import (
	"net/netip"
	"testing"
)

func TestParseBlockTarget(t *testing.T) {
	for given, want := range map[string]string{
		"Spam@Example.NET":         "Spam@example.net",
		"spam@bücher.example":      "spam@xn--bcher-kva.example",
		"@BÜCHER.example":          "@xn--bcher-kva.example",
		"@xn--bcher-kva.example":   "@xn--bcher-kva.example",
		`"a/b"@example.net`:        "a/b@example.net",
		"192.0.2.7":                "192.0.2.7",
		"192.0.2.7/32":             "192.0.2.7",
		"192.0.2.0/24":             "192.0.2.0/24",
		"0.0.0.0/0":                "0.0.0.0/0",
		"::ffff:192.0.2.7":         "192.0.2.7",
		"::ffff:192.0.2.0/120":     "192.0.2.0/24",
		"2001:DB8::/32":            "2001:db8::/32",
		"2001:db8:0:0::1":          "2001:db8::1",
		"*":                        "",
		"example.net":              "",
		"":                         "",
		"192.0.2.5/24":             "",
		"192.0.2.0/33":             "",
		"fe80::1%eth0":             "",
		"@":                        "",
		"a@b@":                     "",
		"192.0.2.1-192.0.2.9":      "",
		"spam@[192.0.2.1]":         "spam@[192.0.2.1]",
		"spam@example.net, b@c.de": "",
	} {
		got, err := ParseBlockTarget(given)
		if (err == nil) != (want != "") || got.String() != want {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
		if err != nil {
			continue
		}
		if again, err := ParseBlockTarget(got.String()); err != nil || again != got {
			t.Errorf("%q is read back as %q, %v", got, again, err)
		}
		_, isPattern := got.Pattern()
		if _, isRange := got.Range(); isPattern == isRange {
			t.Errorf("%q: pattern %t, range %t", got, isPattern, isRange)
		}
	}
	if r, ok := CanonicalBlockTarget("192.0.2.7").Range(); !ok || r != netip.MustParsePrefix("192.0.2.7/32") {
		t.Errorf("got %v, %t", r, ok)
	}
	if got := CanonicalBlockTarget("Spam@example.net").Key(false); got.String() != "spam@example.net" {
		t.Errorf("got %v", got)
	}
}
