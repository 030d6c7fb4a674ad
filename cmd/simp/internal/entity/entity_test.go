package entity

import (
	"fmt"
	"strings"
	"testing"
)

// What was acknowledged is shown, whatever it is.
func TestEntitiesAsPeopleSeeThem(t *testing.T) {
	const plain = "Content-Type: text/plain; charset="
	for _, c := range []struct{ entity, want string }{
		{"\r\nhello", "hello"},
		{"\r\n", ""},
		{"hello\nworld!\n", "[malformed, 13 octets]"},
		{"x", "[malformed, 1 octet]"},
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
		if got := Read([]byte(c.entity)).Describe(len(c.entity)); got != c.want {
			t.Errorf("%q is shown as %q, want %q", c.entity, got, c.want)
		}
	}
}

func TestNestedMultipartsAreBounded(t *testing.T) {
	entity := "\r\nhi"
	for i := range 50 {
		entity = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d.\r\n\r\n--b%[1]d.\r\n%s\r\n--b%[1]d.--", i, entity)
	}
	if got := Read([]byte(entity)).Describe(len(entity)); !strings.HasPrefix(got, "[multipart/mixed, ") {
		t.Errorf("shown as %q", got)
	}
}
