package transcript

import (
	"slices"
	"testing"
)

func TestFits(t *testing.T) {
	for _, c := range []struct {
		pattern, line string
		fits          bool
	}{
		{"1 200", "1 200", true},
		{"1 200", "1 200 ", false},
		{"1 200 index=<any>", "1 200 index=17", true},
		{"1 200 index=<any>", "1 200 index=", false},
		{"1 200 index=<any>", "1 200 index=17 more=18", false},
		{"<any> 200 id=<any> :<rest>", "t7 200 id=x :it is so", true},
		{"1 400 :<rest>", "1 400 :", false},
		{"* PRESENCE since=<any> note=here index=<any>", "* PRESENCE since=now note=there index=1", false},
	} {
		if Fits(c.pattern, c.line) != c.fits {
			t.Errorf("%q, %q: %v", c.pattern, c.line, !c.fits)
		}
	}
}

func TestBlocks(t *testing.T) {
	page := "# A page\n```simp-transcript\n= bob\nend\n```\nand\n```\nC: no\n```\n```simp-transcript\nend\n```\n"
	if got := Blocks(page); !slices.Equal(got, []string{"= bob\nend\n", "end\n"}) {
		t.Errorf("%q", got)
	}
}
