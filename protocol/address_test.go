package protocol_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"simpd/protocol"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"alice@example.com", "alice@example.com"},
		{"Alice@EXAMPLE.com", "Alice@example.com"},
		{"a@b", "a@b"},
		{"a.b.c@x.y", "a.b.c@x.y"},
		{"!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~@example.com"},
		{`"alice"@example.com`, "alice@example.com"},
		{`"al\ice"@example.com`, "alice@example.com"},
		{`"a.b"@example.com`, "a.b@example.com"},
		{`"a b"@example.com`, `"a b"@example.com`},
		{`"a\ b"@example.com`, `"a b"@example.com`},
		{`"a@b"@example.com`, `"a@b"@example.com`},
		{`"a..b"@example.com`, `"a..b"@example.com`},
		{`".a"@example.com`, `".a"@example.com`},
		{`"a\"b\\"@example.com`, `"a\"b\\"@example.com`},
		{"δοκιμή@παράδειγμα.δοκιμή", "δοκιμή@xn--hxajbheg2az3al.xn--jxalpdlp"},
		{"x@MÜNCHEN.example", "x@xn--mnchen-3ya.example"},
		{"x@XN--MNCHEN-3YA.example", "x@xn--mnchen-3ya.example"},
		{"x@ｅｘａｍｐｌｅ。com", "x@example.com"},
		{"\U0001F468\u200d\U0001F469@example.com", "\U0001F468\u200d\U0001F469@example.com"}, // emoji, joined
		{"\u2764\ufe0f@example.com", "\u2764\ufe0f@example.com"},                             // with a variation selector
		{"a\u0378\ue000\U0010ffff@example.com", "a\u0378\ue000\U0010ffff@example.com"},       // not assigned, or private
		{"a\u00a0b\u202ec@example.com", "a\u00a0b\u202ec@example.com"},
		{"\"a\u202e b\"@example.com", "\"a\u202e b\"@example.com"},
		{"x@[192.0.2.1]", "x@[192.0.2.1]"},
		{"x@[IPv6:2001:DB8:0::1]", "x@[IPv6:2001:db8::1]"},
		{"x@[ipv6:::1]", "x@[IPv6:::1]"},
		{"x@1.example", "x@1.example"},
	} {
		a, err := protocol.ParseAddress(c.in)
		if err != nil || a.String() != c.want {
			t.Errorf("ParseAddress(%q) = %q, %v; want %q", c.in, a, err, c.want)
			continue
		}
		if again, err := protocol.ParseAddress(a.String()); err != nil || again != a {
			t.Errorf("%q is not canonical: %q, %v", a, again, err)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", "@", "alice", "alice@", "@example.com", `""@example.com`,
		"alice@example.com.", "alice@.example.com", "alice@example..com", "alice@example。com。",
		".a@x", "a.@x", "a..b@x", "a b@x", "a@b@c", `a"b@x`, `"a@x`, `"a"b@x`, `"a\"@x`, `a\b@x`,
		"Alice <alice@example.com>", "<alice@example.com>", "alice(comment)@example.com", "alice@(c)example.com",
		"group:alice@example.com;", "@relay.example:alice@example.com", "alice@example.com,bob@example.com",
		"a@-x.example", "a@x-.example", "a@exa_mple.com", "a@ab--cd.example", "a@xn--.example", "a@xn--a.example",
		"a@x y", "a@x\r\n", "a\r\n@x", "a\x00@x", "\"a\x00\"@x", "\"a\x7f\"@x", "a\t@x",
		"a\xff@x", "a@x\xff", "\"\xff\"@x",
		"a\u0080b@x", "a\u0085b@x", "a\u009fb@x", "\"a\u0085\"@x", "\"\\é\"@x",
		"a@[192.0.2.1", "a@[192.0.2.256]", "a@[192.0.02.1]", "a@[2001:db8::1]", "a@[IPv6:1.2.3.4]", "a@[IPv6:fe80::1%eth0]", "a@[]", "a@[x:y]",
		"a@[192.0.2.1].example", "a@אa.example", "a@\u0301a.example", "a@a\u200db.example",
	} {
		a, err := protocol.ParseAddress(in)
		var refusal *protocol.Error
		if !errors.As(err, &refusal) || refusal.Status != protocol.StatusBadRequest || !a.IsZero() {
			t.Errorf("ParseAddress(%q) = %q, %v; want a refusal with 400", in, a, err)
		}
	}
}

// domainOf returns a domain of n octets.
func domainOf(n int) string {
	label := strings.Repeat("d", 50) + "."
	s := strings.Repeat(label, n/51)
	return s + strings.Repeat("e", n-len(s))
}

func TestAddressLimits(t *testing.T) {
	l := func(n int) string { return strings.Repeat("l", n) }
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"64 octets of local part", l(64) + "@x", true},
		{"65 octets of local part", l(65) + "@x", false},
		{"64 octets with quotes that are needed", `"` + l(61) + ` "@x`, true},
		{"65 octets with quotes that are needed", `"` + l(62) + ` "@x`, false},
		{"64 octets in quotes that are not needed", `"` + l(64) + `"@x`, true},
		{"65 octets in quotes that are not needed", `"` + l(65) + `"@x`, false},
		{"64 octets in backslashes that are not needed", `"` + strings.Repeat(`\l`, 64) + `"@x`, true},
		{"64 octets of UTF-8", strings.Repeat("é", 32) + "@x", true},
		{"66 octets of UTF-8", strings.Repeat("é", 33) + "@x", false},
		{"254 in all", "a@" + domainOf(252), true},
		{"255 in all", "a@" + domainOf(253), false},
		{"254 in all with a long local part", l(64) + "@" + domainOf(189), true},
		{"255 in all with a long local part", l(64) + "@" + domainOf(190), false},
		{"label of 63", "a@" + l(63) + ".x", true},
		{"label of 64", "a@" + l(64) + ".x", false},
		{"A-label of 63", "a@" + strings.Repeat("ü", 56) + ".x", true},
		{"A-label of 65", "a@" + strings.Repeat("ü", 58) + ".x", false},
	} {
		if a, err := protocol.ParseAddress(c.in); (err == nil) != c.ok {
			t.Errorf("%s: %d octets, %v", c.name, len(a.String()), err)
		}
	}
}

func TestParseDomain(t *testing.T) {
	for _, c := range []struct {
		in, want string
	}{
		{"Example.COM", "example.com"}, {domainOf(253), domainOf(253)}, {"müller.example", "xn--mller-kva.example"},
		{domainOf(254), ""}, {"", ""}, {"example.com.", ""}, {"[192.0.2.1]", ""}, {"a@b", ""}, {"a b", ""}, {"*", ""}, {"a:1", ""},
	} {
		got, err := protocol.ParseDomain(c.in)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("ParseDomain(%.40q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestAddressParts(t *testing.T) {
	a := address(t, `"a@b"@example.com`)
	if a.Local() != `"a@b"` || a.Domain() != "example.com" || a.IsLiteral() || a.IsZero() {
		t.Errorf("parts of %q: %q, %q", a, a.Local(), a.Domain())
	}
	if l := address(t, "a@[192.0.2.1]"); !l.IsLiteral() || l.Domain() != "[192.0.2.1]" {
		t.Errorf("%q is an address literal", l)
	}
	var zero protocol.Address
	if zero.Local() != "" || zero.Domain() != "" || !zero.IsZero() || zero.Compare(a) >= 0 {
		t.Error("the zero Address has no parts and comes first")
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"alice@x", "alice@x", true},
		{"ALICE@x", "alice@x", true},
		{"ａｌｉｃｅ@x", "alice@x", true},
		{"ÉCOLE@x", "école@x", true},
		{"e\u0301cole@x", "école@x", true},
		{"Straße@x", "straße@x", true},
		{"ΣΊΣΥΦΟΣ@x", "σίσυφοσ@x", true},
		{`"a b"@x`, `"a b"@x`, false},
		{`"A@b"@x`, `"A@b"@x`, false},
		{"a．．b@x", "a．．b@x", false}, // a wide full stop becomes a dot
		{"a＠b@x", "a＠b@x", false},   // a wide at sign
		{"♥@x", "♥@x", false},       // no letter
		{"אa@x", "אa@x", false},     // both directions
	} {
		got, ok := address(t, c.in).PRECISFold()
		if got.String() != c.want || ok != c.ok {
			t.Errorf("Fold(%q) = %q, %v; want %q, %v", c.in, got, ok, c.want, c.ok)
		}
		if again, _ := got.PRECISFold(); again != got {
			t.Errorf("Fold(%q) is not stable: %q", got, again)
		}
	}
}

func TestFoldLimits(t *testing.T) {
	// A letter whose small form has more octets: Ⱥ has 2, ⱥ has 3.
	if got, ok := address(t, strings.Repeat("Ⱥ", 21)+"@x").PRECISFold(); !ok || len(got.Local()) != 63 {
		t.Errorf("63 octets folded: %q, %v", got, ok)
	}
	if got, ok := address(t, strings.Repeat("Ⱥ", 22)+"@x").PRECISFold(); ok {
		t.Errorf("66 octets folded: %q", got)
	}
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern, who string
		own, want    bool
	}{
		{"*", "a@x", false, true},
		{"@x", "a@x", false, true},
		{"@X", "a@x", false, true},
		{"@x", "a@sub.x", false, false},
		{"@sub.x", "a@x", false, false},
		{"a@x", "a@x", true, true},
		{"A@X", "a@x", true, true},
		{"Alice@x", "aLICE@x", false, true},
		{"É@x", "é@x", false, true},
		{"e\u0301@x", "É@x", false, true},
		{"ς@x", "Σ@x", false, true},
		{"ς@x", "Σ@x", true, false},
		{`"A b"@x`, `"a B"@x`, false, true},
		{`"A b"@x`, `"a B"@x`, true, false},
		{"a@x", "a@y", true, false},
		{"@müller.example", "a@xn--mller-kva.example", false, true},
	} {
		p, err := protocol.ParsePattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		who := address(t, c.who)
		if got := p.Matches(who, c.own); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.who, got)
		}
		keys := []string{who.RuleKey(c.own).String(), "@" + who.Domain(), "*"}
		found := slices.Contains(keys, p.Key(c.own).String())
		if found != c.want {
			t.Errorf("%q is found for %q by its key: %v", c.pattern, c.who, found)
		}
	}
	for _, in := range []string{"", "**", "@", "@*", "a@", "x", "@x.", "a b@x"} {
		if p, err := protocol.ParsePattern(in); err == nil || !p.IsZero() {
			t.Errorf("ParsePattern(%q) = %q", in, p)
		}
	}
}

// The names of a site's own users are what PRECIS UsernameCaseMapped allows,
// with joiners where their script has them (RFC 8264, RFC 5892 appendix A).
func TestOwnUsersNames(t *testing.T) {
	for _, c := range []struct {
		in string
		ok bool
	}{
		{"alice@x", true}, {"a.b-c_1@x", true}, {"дмитрий@x", true}, {"δοκιμή@x", true},
		{"田中taro@x", true}, {"josé@x", true}, {"שלום@x", true}, {"раура@x", true},
		{"نامه\u200cای@x", true},                     // Persian, with a zero-width non-joiner
		{"क्\u200dष@x", true},                        // Hindi, with a zero-width joiner after a virama
		{"a\u200cb@x", false}, {"a\u200db@x", false}, // joiners that join nothing
		{"a\u202eb@x", false}, {"a\ufeffb@x", false}, {"a\u00a0b@x", false}, {"☺@x", false}, {"😀@x", false},
		{"a\ufe0fb@x", false}, {"a\ue000b@x", false}, {"a\u0378b@x", false},
		{`"a b"@x`, false},
	} {
		a := address(t, c.in)
		folded, ok := a.PRECISFold()
		if ok != c.ok || ok && folded.IsZero() {
			t.Errorf("Fold(%+q) = %v, want %v", c.in, ok, c.ok)
		}
	}
}

// One account, however the name is typed.
func TestOneAccount(t *testing.T) {
	for _, same := range [][]string{{"é@x", "e\u0301@x", "É@x"}, {"ａ@x", "a@x", "Ａ@x", `"a"@x`}} {
		first, _ := address(t, same[0]).PRECISFold()
		for _, other := range same[1:] {
			if got, ok := address(t, other).PRECISFold(); !ok || got != first {
				t.Errorf("%q folds to %q, %q to %q", same[0], first, other, got)
			}
		}
	}
}

// An address of 1 MiB is refused in less than 5 ms.
func TestHostileAddressIsRefusedFast(t *testing.T) {
	const size = 1 << 20
	for _, in := range []string{
		strings.Repeat("a", size) + "@x",
		"a@" + strings.Repeat("a.", size/2) + "x",
		`"` + strings.Repeat(`\`, size) + `"@x`,
		strings.Repeat(`"`, size),
		strings.Repeat("@", size),
		strings.Repeat("<", size),
		"a@" + strings.Repeat("xn--a.", size/6),
		"a@" + strings.Repeat("é", size/2),
		strings.Repeat("\u0301", size/2) + "@x",
	} {
		start := time.Now()
		_, err := protocol.ParseAddress(in)
		if took := time.Since(start); err == nil || took > 5*time.Millisecond {
			t.Errorf("%.10q…: %v after %v", in, err, took)
		}
		var refusal *protocol.Error
		if errors.As(err, &refusal); len(refusal.Text) > 512 {
			t.Errorf("%.10q…: a text of %d octets", in, len(refusal.Text))
		}
	}
}

func TestCanonicalAddressCostsNothing(t *testing.T) {
	s := "alice.liddell@chat.example.com"
	if n := testing.AllocsPerRun(100, func() {
		a, err := protocol.ParseAddress(s)
		if folded, ok := a.PRECISFold(); err != nil || !ok || folded != a {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func address(t testing.TB, s string) protocol.Address {
	t.Helper()
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestCaseFold: local parts that differ in case alone are the same, and are
// written in small letters; no others are.
func TestCaseFold(t *testing.T) {
	for given, want := range map[string]string{
		"Bob@other.example":  "bob@other.example",
		"JOSÉ@other.example": "josé@other.example",
		"josé@other.example": "josé@other.example",
		"ΣΑΣ@other.example":  "σασ@other.example",
		"σας@other.example":  "σασ@other.example",
		"İ@other.example":    "İ@other.example",
	} {
		a, err := protocol.ParseAddress(given)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.CaseFold().String(); got != want {
			t.Errorf("%s: got %s, want %s", given, got, want)
		}
	}
	for r := rune('A'); r <= 0x1FFFF; r++ {
		a, err := protocol.ParseAddress(string(r) + "@other.example")
		if err != nil {
			continue
		}
		b, err := protocol.ParseAddress(string(unicode.SimpleFold(r)) + "@other.example")
		if err != nil || a.CaseFold() != b.CaseFold() {
			t.Fatalf("%s and %s are the same but for case: %v", a, b, err)
		}
		if again := a.CaseFold().CaseFold(); again != a.CaseFold() {
			t.Fatalf("%s becomes %s, and that %s", a, a.CaseFold(), again)
		}
	}
}
