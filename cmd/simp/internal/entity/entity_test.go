package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
)

// What was acknowledged is shown, whatever it is.
func TestEntitiesAsPeopleSeeThem(t *testing.T) {
	const plain = "Content-Type: text/plain; charset="
	for _, c := range []struct{ entity, want string }{
		{"\r\nhello", "hello"},
		{"\r\n", ""},
		{"hello\nworld!\n", "[malformed, 13 octets]"},
		{"Content-Type: text/plain\n\nhi", "[malformed, 28 octets]"},
		{"Content-Type: text/plain\r\n", "[malformed, 26 octets]"},
		{"just a line\r\n\r\nhi", "[malformed, 17 octets]"},
		{": x\r\n\r\nhi", "[malformed, 9 octets]"},
		{" x: y\r\n\r\nhi", "[malformed, 11 octets]"},
		{"", "[malformed, 0 octets]"},
		{"Content-Type: ;;\r\n\r\nhi", "[malformed, 22 octets]"},
		{"Content-Type: text/html\r\n\r\n<b>hi</b>", "[text/html, 36 octets]"},
		{plain + "iso-8859-1\r\n\r\nGr\xfc\xdfe", "Grüße"},
		{plain + "windows-1252\r\n\r\n\x80 5", "€ 5"},
		{plain + "iso-8859-15\r\n\r\n\xa4 5", "€ 5"},
		{plain + "koi8-r\r\n\r\n\xf0\xf2\xe9\xf7\xe5\xf4", "ПРИВЕТ"},
		{plain + "shift_jis\r\n\r\n\x93\xfa\x96\x7b", "日本"},
		{plain + "gb18030\r\n\r\n\xc4\xe3\xba\xc3", "你好"},
		{plain + "utf-16le\r\n\r\nh\x00i\x00", "hi"},
		{plain + "x-unheard-of\r\n\r\nhi", "[text/plain, 52 octets]"},
		{plain + "utf-8\r\n\r\n\xff", "[text/plain, 44 octets]"},
		{"Content-Transfer-Encoding: base64\r\n\r\n!!", "[text/plain, 39 octets]"},
		{"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<i>\r\n--b\r\n" +
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=BC\r\n--b--\r\n", "ü"},
		{"Content-Type: multipart/mixed\r\n\r\nx", "[multipart/mixed, 34 octets]"},
		{"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b--", "[multipart/mixed, 85 octets]"},
	} {
		if got := readEntity([]byte(c.entity)).describe(len(c.entity)); got != c.want {
			t.Errorf("%q is shown as %q, want %q", c.entity, got, c.want)
		}
	}
}

func TestNestedMultipartsAreBounded(t *testing.T) {
	entity := "\r\nhi"
	for i := range 50 {
		entity = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%[1]d.\r\n%s\r\n--b%[1]d.--", i, entity)
	}
	if got := readEntity([]byte(entity)).describe(len(entity)); !strings.HasPrefix(got, "[multipart/mixed, ") {
		t.Errorf("shown as %q", got)
	}
}

func TestTheDateIsShownWhenTheDayChanges(t *testing.T) {
	c := newConsole(nil)
	a := &app{out: screen{c, &c.out}, term: c, zone: time.UTC, day: "2026-11-21", env: func(string) string { return "" }}
	for _, at := range []string{"2026-11-21T23:59:59.000Z", "2026-11-22T00:00:01.000Z", "2026-11-22T00:00:02.000Z"} {
		when, err := time.Parse(protocol.TimeFormat, at)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.printMessage(&protocol.Message{From: protocol.CanonicalAddress("bob@example.com"), Time: when, Entity: []byte("\r\nhi")}); err != nil {
			t.Fatal(err)
		}
	}
	want := "23:59:59 bob@example.com: hi\n2026-11-22 00:00:01 bob@example.com: hi\n00:00:02 bob@example.com: hi\n"
	if got := c.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// An output that takes nothing does not change what the exit code tells.
func TestAClosedOutputChangesNoOutcome(t *testing.T) {
	s := newSite(t)
	for to, want := range map[string]int{"bob@example.com": 0, "deaf@example.com": 3, "silent@example.com": 4, "rude@example.com": 1} {
		c := newConsole(s.env())
		c.broken = true
		if code := c.run(t.Context(), strings.NewReader(""), "send", to, "hello"); code != want || !strings.Contains(c.err.String(), "no space left on device") {
			t.Errorf("%s: exit code %d, want %d; %q", to, code, want, c.err.String())
		}
	}
}
