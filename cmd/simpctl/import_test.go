package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	s := newSite(t)
	var file strings.Builder
	file.WriteString("\uFEFF")
	for i := range 5 {
		fmt.Fprintf(&file, "u%d@example.com,pass,word %d\r\n\n", i, i)
	}
	file.WriteString(`"odd, one"@example.com,secret`)
	_, err := parseImport("x", strings.NewReader(file.String()))
	if err != nil {
		t.Fatal(err)
	}
	good := strings.TrimSuffix(file.String(), `"odd, one"@example.com,secret`)
	if got := s.ok(good, "account", "import", "-"); got != "5 accounts: 5 created, 0 with a new password, 0 unchanged\n" {
		t.Errorf("got %q", got)
	}
	if !s.fits("u3@example.com", "pass,word 3") {
		t.Error("the password is not all after the comma")
	}
	again := strings.Replace(good, "word 2", "other", 1) + "new@example.com,x\n"
	if got := s.ok(again, "account", "import", "-"); got != "6 accounts: 1 created, 1 with a new password, 4 unchanged\n" {
		t.Errorf("again: %q", got)
	}
	if !s.fits("u2@example.com", "pass,other") {
		t.Error("the password is not the new one")
	}
}

func TestTheWholeFileIsCheckedBeforeAnythingIsImported(t *testing.T) {
	s := newSite(t)
	var many strings.Builder
	for i := range 450 {
		fmt.Fprintf(&many, "u%d@example.com,x\n", i)
	}
	for in, want := range map[string]string{
		"a@example.com,x\nno comma\n":                                            "standard input:2: the line must be IMA,PASSWORD",
		"a@example.com,x\nnobody,y\n":                                            "standard input:2: invalid address nobody",
		"a@example.com,x\n\nA@example.com,y\n":                                   "standard input:3: a@example.com is already in line 1",
		"a@example.com,\n":                                                       "standard input:1: the password is empty",
		"a@example.com,x\nb@example.com,\u00ad\ufeff\n":                          "standard input:2: the password is empty",
		"a@example.com,x\n\nb@example.com,a\x07b\n":                              "standard input:3: the password has a control character",
		"a@example.com,x\nb@example.com,a\xffb\n":                                "standard input:2: the password is not valid UTF-8",
		"a@example.com,x\n\nb@example.com," + strings.Repeat("p", 70_000) + "\n": "standard input:3: the line has more than 65536 octets",
		"a@example.com,x\rb@example.com,y\r":                                     "standard input:1: the password has a control character",
		"a@example.com,x\x00\n":                                                  "standard input:1: the password has a control character",
		"":                                                                       "standard input contains no accounts",
		"\n\r\n\n":                                                               "standard input contains no accounts",
		many.String() + "\n\nz@elsewhere.example,x\n":                            "standard input:453: z@elsewhere.example is not of this site",
		many.String() + "a b@example.com,x\nc@example.com,y\n":                   "standard input:451: ",
	} {
		r := s.do(in, "account", "import", "-")
		if r.code == 0 || !strings.Contains(r.err, want) || !strings.Contains(r.err, "nothing was imported") {
			t.Errorf("exit %d, %q; want %q", r.code, r.err, want)
		}
	}
	if got := s.ok("", "account", "list"); strings.Contains(got, "example.com") {
		t.Errorf("something was imported:\n%s", got)
	}
}

// A name that looks like another is left out; the others are imported.
func TestALookalikeDoesNotStopAnImport(t *testing.T) {
	s := newSite(t)
	s.ok("x", "account", "add", "paypal@example.com", "--password-stdin")
	const fake = "\u0440\u0430\u0443\u0440\u0430l" // Cyrillic, but for the l
	in := "a@example.com,x\n\n" + fake + "@example.com,y\nmodem@example.com,x\nmodern@example.com,x\nb@example.com,z\n"
	r := s.do(in, "account", "import", "-")
	if r.code != 1 || !strings.Contains(r.out, "5 accounts: 3 created, 0 with a new password, 0 unchanged") {
		t.Errorf("got %+v", r)
	}
	for _, want := range []string{
		"standard input:3: " + fake + "@example.com looks like the existing account paypal@example.com",
		"standard input:5: modern@example.com looks like the existing account modem@example.com", "2 accounts left out; import with --allow-lookalike",
	} {
		if !strings.Contains(r.err, want) {
			t.Errorf("%q is not in %q", want, r.err)
		}
	}
	if r := s.do("x", "account", "add", fake+"@example.com", "--password-stdin"); r.code != 1 || !strings.Contains(r.err, "looks like the existing account paypal@example.com") {
		t.Errorf("added by hand: %+v", r)
	}
	if r := s.do(in, "account", "import", "--allow-lookalike", "-"); r.code != 0 || !strings.Contains(r.out, "2 created") {
		t.Errorf("with --allow-lookalike: %+v", r)
	}
}

func TestAProgressBarOnATerminalOnly(t *testing.T) {
	s := newSite(t)
	args := []string{"--insecure", "--addr", s.addr, "account", "import", "-"}
	if r := simpctlAt(t, &console{terminal: true}, "a@example.com,x\n", args...); !strings.Contains(r.err, "importing [########################] 1 of 1") {
		t.Errorf("on a terminal: %+v", r)
	}
	if r := simpctl(t, "b@example.com,x\n", args...); r.err != "" {
		t.Errorf("on no terminal: %+v", r)
	}
}
