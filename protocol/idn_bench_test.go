package protocol

import (
	"strings"
	"testing"

	"golang.org/x/text/secure/precis"
)

// ASCII is folded without PRECIS, and as PRECIS would.
func TestASCIIFoldsAsPRECIS(t *testing.T) {
	for c := byte('!'); c < 0x7f; c++ {
		if !isAtext(c) {
			continue
		}
		local := "A" + string(c) + "z"
		want, err := precis.UsernameCaseMapped.String(local)
		got, ok := Address{local + "@example.com"}.PRECISFold()
		if err != nil || !ok || got.Local() != want {
			t.Errorf("%s: %s, %t; PRECIS makes %s, %v", local, got, ok, want, err)
		}
	}
}

// What an address costs for each of its octets (ns/octet): the limit on those
// that need IDNA (server/idn.go) rests on it.
func BenchmarkParseAddressByScript(b *testing.B) {
	for name, address := range map[string]string{
		"ASCII":       "romeo.montague@very-long-subdomain.of-another.example.com",
		"U-labels":    "romeo@" + strings.Repeat("bücherbücher.", 6) + "example",
		"short-IDN":   "r@ü.de",
		"many-labels": "r@" + strings.Repeat("ü.", 40) + "de",
		"A-labels":    "romeo@" + strings.Repeat("xn--bcherbcher-thbh.", 6) + "example",
		"fake-A":      "romeo@" + strings.Repeat("xn--zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.", 4) + "e",
		"one-A":       "romeo@xn--" + strings.Repeat("9", 59) + ".e",
		"bidi":        "romeo@" + strings.Repeat("אבגדהוזחט.", 10) + "example",
		"CJK":         "romeo@" + strings.Repeat("例子中文测试漢字.", 8) + "example",
		"decomposed":  "romeo@" + strings.Repeat("u\u0308", 200) + ".example",
		"marks":       "romeo@a" + strings.Repeat("\u0301\u0323", 240) + ".example",
		"too-long":    "romeo@" + strings.Repeat("ü", 500),
		"hangul":      "romeo@" + strings.Repeat("\u1112\u1161\u11ab", 100),
		"joiners":     "romeo@" + strings.Repeat("ब\u094d\u200d", 60),
		"local":       strings.Repeat("ü", 32) + "@example.com",
		"local-marks": "a" + strings.Repeat("\u0301\u0323", 15) + "@example.com",
		"ligature":    "r@" + strings.Repeat("\ufdfa", 300),
	} {
		b.Run(name, func(b *testing.B) {
			var fold Address
			for b.Loop() {
				a, err := ParseAddress(address)
				if err == nil {
					fold, _ = a.PRECISFold()
				}
			}
			_ = fold
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(address)), "ns/octet")
		})
	}
}
