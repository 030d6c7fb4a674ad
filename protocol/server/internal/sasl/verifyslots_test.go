package sasl

import (
	"fmt"
	"net/netip"
	"testing"
)

func slotAt(domain, source string) verifySlot {
	return Source{Addr: netip.MustParseAddr(source)}.slot(domain)
}

// Wildcards in DNS, many addresses of one network, and one source each have a
// share, and no more.
func TestVerifySlotsAreShared(t *testing.T) {
	for name, x := range map[string]struct {
		slot func(i int) verifySlot
		most int
	}{
		"one registrable domain": {func(i int) verifySlot { return slotAt(fmt.Sprintf("a%d.evil.co.uk", i), fmt.Sprintf("10.%d.0.1", i)) }, maxPerSite},
		"one source":             {func(i int) verifySlot { return slotAt(fmt.Sprintf("evil%d.example", i), "192.0.2.1") }, maxPerSource},
		"one /64": {func(i int) verifySlot {
			return slotAt(fmt.Sprintf("evil%d.example", i), fmt.Sprintf("2a00:1:2:3::%d", i))
		}, maxPerSource},
		"one /24": {func(i int) verifySlot { return slotAt(fmt.Sprintf("evil%d.example", i), fmt.Sprintf("192.0.2.%d", i)) }, maxPerNetwork},
		"one /48": {func(i int) verifySlot {
			return slotAt(fmt.Sprintf("evil%d.example", i), fmt.Sprintf("2a00:1:2:%d::1", i))
		}, maxPerNetwork},
		"strangers": {func(i int) verifySlot { return slotAt(fmt.Sprintf("evil%d.example", i), fmt.Sprintf("10.%d.0.1", i)) }, maxVerifying - reservedVerifying},
	} {
		var v VerifySlots
		known := slotAt("good.example", "198.51.100.1")
		if !v.acquire(known) {
			t.Fatal("there is no slot")
		}
		v.release(known, true)
		var held []verifySlot
		for i := range 200 {
			if slot := x.slot(i); v.acquire(slot) {
				held = append(held, slot)
			}
		}
		if len(held) != x.most {
			t.Errorf("%s: %d slots, want %d", name, len(held), x.most)
		}
		if !v.acquire(known) {
			t.Errorf("%s: a site that is known is refused", name)
		}
		v.release(known, false)
		for _, slot := range held {
			v.release(slot, false)
		}
		if v.used != 0 || len(v.held) != 0 {
			t.Errorf("%s: %d slots and %d shares are left", name, v.used, len(v.held))
		}
	}
}
