package protocol_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
)

func TestParseLine(t *testing.T) {
	type params = []protocol.Param
	for _, c := range []struct {
		in   string
		want protocol.Line
	}{
		{"1 PING", protocol.Line{Tag: "1", Verb: "PING", Literal: -1}},
		{"1 ping", protocol.Line{Tag: "1", Verb: "PING", Literal: -1}},
		{"* BYE status=400 :bad line", protocol.Line{Tag: "*", Verb: "BYE", Params: params{{"status", "400"}}, Text: "bad line", HasText: true, Literal: -1}},
		{"a-_.Z9 200", protocol.Line{Tag: "a-_.Z9", Status: 200, Literal: -1}},
		{"1 200 :", protocol.Line{Tag: "1", Status: 200, HasText: true, Literal: -1}},
		{"1 200 :a {5}", protocol.Line{Tag: "1", Status: 200, Text: "a {5}", HasText: true, Literal: -1}},
		{"1 STATE note=", protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", ""}}, Literal: -1}},
		{`1 STATE note=""`, protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", ""}}, Literal: -1}},
		{`1 STATE NOTE="a \"b\" \\ {5} :c"`, protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", `a "b" \ {5} :c`}}, Literal: -1}},
		{`1 STATE note=a\b`, protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", `a\b`}}, Literal: -1}},
		{"1 STATE note={5}", protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", "{5}"}}, Literal: -1}},
		{"1 STATE note=:x", protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", ":x"}}, Literal: -1}},
		{"1 STATE note=a=b", protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", "a=b"}}, Literal: -1}},
		{"1 STATE note=grüße", protocol.Line{Tag: "1", Verb: "STATE", Params: params{{"note", "grüße"}}, Literal: -1}},
		{"1 SEND to=a@b to=c@d {12}", protocol.Line{Tag: "1", Verb: "SEND", Params: params{{"to", "a@b"}, {"to", "c@d"}}, Literal: 12}},
		{"1 MORE {0}", protocol.Line{Tag: "1", Verb: "MORE", Literal: 0}},
		{"1 SEND :text {5", protocol.Line{Tag: "1", Verb: "SEND", Text: "text {5", HasText: true, Literal: -1}},
	} {
		var got protocol.Line
		if err := protocol.ParseLine(c.in, &got); err != nil || !sameLine(got, c.want) {
			t.Errorf("ParseLine(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
		}
	}
}

func TestParseLineRefuses(t *testing.T) {
	for _, c := range []struct {
		in, tag string
		literal int
	}{
		{"", "", -1}, {" PING", "", -1}, {"ä PING", "", -1}, {"1\tPING", "", -1}, {"** PING", "", -1}, {"{5}", "", 5}, {": x", "", -1},
		{"1", "1", -1}, {"1 ", "1", -1}, {"1  PING", "1", -1}, {"1 {5}", "1", 5},
		{"1 PING ", "1", -1}, {"1 PING  a=b", "1", -1}, {"1 PING a", "1", -1}, {"1 PING =b", "1", -1}, {"1 PING 1a=b", "1", -1}, {"1 PING a_b=c", "1", -1},
		{"1 P1NG", "1", -1}, {"1 PÏNG", "1", -1}, {"1 20", "1", -1}, {"1 099", "1", -1}, {"1 000", "1", -1}, {"1 2000", "1", -1}, {"1 -10", "1", -1},
		{"1 200 {5}", "1", 5}, {"1 200 a=b {5}", "1", 5},
		{`1 PING a="b`, "1", -1}, {`1 PING a="b"c`, "1", -1}, {`1 PING a="b"c=d`, "1", -1}, {`1 PING a=b"c"`, "1", -1}, {`1 PING a="b\c"`, "1", -1}, {`1 PING a="b\`, "1", -1},
		{"1 PING a=b\x01", "1", -1}, {"1 PING a=\"b\x1b\"", "1", -1}, {"1 PING :a\x1b", "1", -1}, {"1 PING :a\x7f", "1", -1}, {"1 PING :a\tb", "1", -1}, {"1 PING a=\x7f", "1", -1},
		{"1 SEND {5} to=a@b", "1", -1}, {"1 SEND {5} {6}", "1", 6}, {"1 SEND to=a@b {5 }", "1", -1}, {"1 SEND x {5}", "1", 5},
	} {
		var l protocol.Line
		err := protocol.ParseLine(c.in, &l)
		var refusal *protocol.Error
		if !errors.As(err, &refusal) || refusal.Status != protocol.StatusBadRequest {
			t.Errorf("ParseLine(%q) = %+v, %v; want 400", c.in, l, err)
		}
		if l.Tag != c.tag || l.Literal != c.literal {
			t.Errorf("ParseLine(%q): tag %q, literal %d; want %q, %d", c.in, l.Tag, l.Literal, c.tag, c.literal)
		}
	}
}

// A literal's length is decimal digits alone, and never overflows.
func TestLiteralLengths(t *testing.T) {
	for _, c := range []struct {
		word string
		n    int // -1: ErrBadLiteral
	}{
		{"{0}", 0}, {"{1}", 1}, {"{65536}", 65536}, {"{99999999}", 99999999},
		{"{100000000}", -1}, {"{9223372036854775808}", -1}, {"{18446744073709551621}", -1}, {"{" + strings.Repeat("9", 1000) + "}", -1},
		{"{}", -1}, {"{", -1}, {"{5", -1}, {"{5}x", -1}, {"{5}}", -1}, {"{{5}", -1}, {"{05}", -1}, {"{00}", -1}, {"{+5}", -1}, {"{-5}", -1}, {"{5+}", -1},
		{"{0x5}", -1}, {"{5.0}", -1}, {"{5e1}", -1}, {"{5\t}", -1}, {"{٥}", -1}, {"{5_0}", -1}, {`{"5"}`, -1},
	} {
		var l protocol.Line
		err := protocol.ParseLine("1 SEND to=a@b "+c.word, &l)
		if c.n < 0 && err != protocol.ErrBadLiteral || c.n >= 0 && (err != nil || l.Literal != c.n) {
			t.Errorf("%.40q: %d, %v; want %d", c.word, l.Literal, err, c.n)
		}
	}
}

func TestLineLimits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"tag of 32", x(32) + " PING", true},
		{"tag of 33", x(33) + " PING", false},
		{"verb of 16", "1 " + x(16), true},
		{"verb of 17", "1 " + x(17), false},
		{"key of 16", "1 PING " + x(16) + "=", true},
		{"key of 17", "1 PING " + x(17) + "=", false},
		{"status 100", "1 100", true},
		{"status 999", "1 999", true},
	} {
		var l protocol.Line
		if err := protocol.ParseLine(c.in, &l); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		id string
		ok bool
	}{{"", false}, {"a", true}, {x(64), true}, {x(65), false}, {"aZ09-_.", true}, {"a b", false}, {"*", false}, {"é", false}} {
		if protocol.ValidID(c.id) != c.ok {
			t.Errorf("ValidID(%q) = %v", c.id, !c.ok)
		}
	}
	for _, c := range []struct {
		note string
		ok   bool
	}{{"", true}, {x(256), true}, {x(257), false}, {strings.Repeat("é", 128), true}, {"a\nb", false}, {"a\x7f", false}, {"\xff", false}} {
		if protocol.ValidNote(c.note) != c.ok {
			t.Errorf("ValidNote(%q) = %v", c.note, !c.ok)
		}
	}
}

func TestRepeated(t *testing.T) {
	many := "1 X"
	for c := 'a'; c <= 'z'; c++ {
		many += " " + string(c) + "="
	}
	for _, c := range []struct{ in, key string }{
		{"1 X a= b= c=", ""}, {"1 X to=a to=b ima=a ima=b by=a by=b", ""}, {"1 X a= b= A=", "a"},
		{many, ""}, {many + " m=", "m"}, {many + " to= to=", ""},
	} {
		var l protocol.Line
		if err := protocol.ParseLine(c.in, &l); err != nil {
			t.Fatal(err)
		}
		if key, ok := l.Repeated(); key != c.key || ok != (c.key != "") {
			t.Errorf("%q: %q, %v", c.in, key, ok)
		}
	}
}

func TestAppend(t *testing.T) {
	b := protocol.AppendRequest(nil, "m1", "MESSAGE")
	b = protocol.AppendParam(b, "from", "alice@example.com")
	b = protocol.AppendParam(b, "note", `a "quoted" \ note`)
	b = protocol.AppendParam(b, "empty", "")
	b = protocol.AppendInt(b, "index", 18446744073709551615)
	b = protocol.AppendTime(b, "time", time.Date(2026, 11, 22, 11, 0, 0, 123456789, time.FixedZone("", 3600)))
	b = protocol.AppendEnd(protocol.AppendLiteral(b, 7))
	want := `m1 MESSAGE from=alice@example.com note="a \"quoted\" \\ note" empty= index=18446744073709551615 time=2026-11-22T10:00:00.123Z {7}` + "\r\n"
	if string(b) != want {
		t.Errorf("got  %q\nwant %q", b, want)
	}
	if got := string(protocol.AppendText(protocol.AppendResponse(nil, "1", 480), "no\r\none\x00 \xff")); got != "1 480 :no\ufffd\ufffdone\ufffd \ufffd" {
		t.Errorf("%q", got)
	}
}

func TestAppendTextIsCut(t *testing.T) {
	for _, unit := range []string{"x", "é", "€", "\x00", "\xff"} {
		text := strings.Repeat(unit, protocol.MaxLine)
		b := protocol.AppendText(protocol.AppendResponse(nil, "1", 500), text)
		var l protocol.Line
		if err := protocol.ParseLine(string(b), &l); err != nil || len(l.Text) > protocol.MaxText || len(l.Text) < protocol.MaxText-2 {
			t.Errorf("%q: %d octets, %v", unit, len(l.Text), err)
		}
	}
}

// Whatever is written as a param or a text, it stays one line that reads back
// the same, but for what no line can hold.
func FuzzAppend(f *testing.F) {
	f.Add("note", "text")
	f.Add("a\r\n* BYE status=400", "b\r\n1 200")
	f.Add("\" {5}", " {5}")
	f.Add("\\", "\\")
	f.Add("\xff\x00\x7f\u202e", ":")
	f.Fuzz(func(t *testing.T, note, text string) {
		note, text = note[:min(len(note), 500)], text[:min(len(text), protocol.MaxText/3)]
		b := protocol.AppendParam(protocol.AppendResponse(nil, "1", 200), "note", note)
		b = protocol.AppendEnd(protocol.AppendText(b, text))
		if n, err := protocol.ScanLine(b); n != len(b) || err != nil {
			t.Fatalf("%q: %d of %d, %v", b, n, len(b), err)
		}
		var l protocol.Line
		if err := protocol.ParseLine(string(b[:len(b)-2]), &l); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		if got, _ := l.Get("note"); got != clean(note) || l.Text != clean(text) || len(l.Params) != 1 {
			t.Fatalf("%q, %q came back as %q, %q", note, text, got, l.Text)
		}
	})
}

// clean is what a line holds of s.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7F {
			return '\ufffd'
		}
		return r
	}, strings.Join(strings.Split(s, ""), ""))
}

// encode(decode(x)) means the same as x, and is canonical: it encodes to itself.
func FuzzParseLine(f *testing.F) {
	f.Add("1 SEND to=bob@example.com id=x {7}")
	f.Add(`* PRESENCE ima=a@b state=available note="a \"b\" \\" index=5`)
	f.Add("3 200 session=n1.7.42 index=1041 :fine {5}")
	f.Add("1 SEND {5} {6}")
	f.Add(`1 X a="b {5}`)
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := protocol.ScanLine([]byte(s + "\r\n")); err != nil || n != len(s)+2 {
			return // no line at all
		}
		var first, second protocol.Line
		if protocol.ParseLine(s, &first) != nil || len(first.Text) > protocol.MaxText {
			return
		}
		b := encode(&first)
		if err := protocol.ParseLine(string(b), &second); err != nil || !sameLine(first, second) {
			t.Fatalf("%q reads %+v, and %q reads %+v, %v", s, first, b, second, err)
		}
		if again := encode(&second); string(again) != string(b) {
			t.Fatalf("%q encodes to %q", b, again)
		}
	})
}

func encode(l *protocol.Line) []byte {
	var b []byte
	if l.IsRequest() {
		b = protocol.AppendRequest(b, l.Tag, l.Verb)
	} else {
		b = protocol.AppendResponse(b, l.Tag, l.Status)
	}
	for _, p := range l.Params {
		b = protocol.AppendParam(b, p.Key, p.Value)
	}
	if l.HasText {
		b = protocol.AppendText(b, l.Text)
	}
	if l.Literal >= 0 {
		b = protocol.AppendLiteral(b, l.Literal)
	}
	return b
}

func sameLine(a, b protocol.Line) bool {
	if len(a.Params) == 0 && len(b.Params) == 0 {
		a.Params, b.Params = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// What is canonical stays as it is, and everything else becomes canonical at
// once; folding likewise.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"alice@example.com", `"a b"@X`, "δ@παράδειγμα.δοκιμή", "a@[IPv6:::1]", "İ．@ǅ.x", "\u202ea@x", `"\"@x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := protocol.ParseAddress(s)
		if err != nil {
			if !a.IsZero() || len(err.Error()) > 1024 {
				t.Fatalf("%q: %q, %v", s, a, err)
			}
			return
		}
		if again, err := protocol.ParseAddress(a.String()); err != nil || again != a {
			t.Fatalf("%q, %q, %v", a, again, err)
		}
		if len(a.String()) > protocol.MaxAddress || a.String() != a.Local()+"@"+a.Domain() {
			t.Fatalf("%q is %q at %q", a, a.Local(), a.Domain())
		}
		folded, ok := a.PRECISFold()
		again, okAgain := folded.PRECISFold()
		parsed, err := protocol.ParseAddress(folded.String())
		if again != folded || ok != okAgain || err != nil || parsed != folded {
			t.Fatalf("%q folds to %q, %q; %q, %v", a, folded, again, parsed, err)
		}
		if key := a.CaseFold(); key.CaseFold() != key {
			t.Fatalf("%q: %q, %q", a, key, key.CaseFold())
		}
		if p, err := protocol.ParsePattern(a.String()); err != nil || !p.Matches(a, false) || !p.Matches(a, true) {
			t.Fatalf("%q is no pattern of itself: %v", a, err)
		}
	})
}

func TestParseLineAllocatesNothing(t *testing.T) {
	const send = `17 SEND to=bob@example.com id=01KA2ZB9M1 timeout=10 {120}`
	var l protocol.Line
	if err := protocol.ParseLine(send, &l); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = protocol.ParseLine(send, &l) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	buf := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() { buf = appendMessage(buf[:0]) }); n != 0 {
		t.Errorf("%v allocations to append", n)
	}
}

func appendMessage(b []byte) []byte {
	b = protocol.AppendRequest(b, "m17", "MESSAGE")
	b = protocol.AppendParam(b, "from", "alice@example.com")
	b = protocol.AppendParam(b, "to", "bob@example.com")
	b = protocol.AppendParam(b, "id", "01KA2ZB9M1")
	b = protocol.AppendTime(b, "time", time.Unix(1795341600, 123e6))
	return protocol.AppendEnd(protocol.AppendLiteral(b, 120))
}

func BenchmarkScanAndParseSend(b *testing.B) {
	line := []byte("17 SEND to=bob@example.com id=01KA2ZB9M1 timeout=10 {120}\r\n")
	text := string(line[:len(line)-2])
	var l protocol.Line
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := protocol.ScanLine(line); n != len(line) || err != nil {
			b.Fatal(err)
		}
		if err := protocol.ParseLine(text, &l); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	buf := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendMessage(buf[:0])
	}
}

func BenchmarkParseAddress(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := protocol.ParseAddress("alice.liddell@chat.example.com"); err != nil {
			b.Fatal(err)
		}
	}
}
