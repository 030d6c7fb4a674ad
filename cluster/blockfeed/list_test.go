package blockfeed

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
)

const (
	someKey = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
	somePin = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

func TestParseSource(t *testing.T) {
	for _, s := range []string{
		"spam=https://lists.example/spam.txt#key=" + someKey,
		"spam-2=https://lists.example:8443/?list=a&b#pin=" + somePin,
		"s=https://lists.example/spam.txt#key=" + someKey + "&pin=" + somePin + "&interval=5m0s",
	} {
		f, err := ParseSource(s)
		if err != nil || f.String() != s {
			t.Errorf("%s is read as %s, %v", s, f.String(), err)
		}
	}
	for s, want := range map[string]string{
		"https://lists.example/#key=" + someKey:               "must be NAME=URL",
		"Spam=https://lists.example/#key=" + someKey:          "must be NAME=URL",
		"=https://lists.example/#key=" + someKey:              "must be NAME=URL",
		"a=http://lists.example/#key=" + someKey:              "invalid URL",
		"a=https://user:pass@lists.example/#key=" + someKey:   "invalid URL",
		"a=https://#key=" + someKey:                           "invalid URL",
		"a=https://lists.example/":                            "neither a key nor a pin",
		"a=https://lists.example/#interval=1h":                "neither a key nor a pin",
		"a=https://lists.example/#key=AAAA":                   "invalid key",
		"a=https://lists.example/#pin=hello":                  "invalid pin",
		"a=https://lists.example/#cert=x":                     "unknown setting",
		"a=https://lists.example/#interval=4m&pin=" + somePin: "invalid interval",
		"a=https://lists.example/#interval=25h&pin=x":         "invalid interval",
	} {
		if f, err := ParseSource(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is read as %s, %v", s, f.String(), err)
		}
	}
}

func TestParseList(t *testing.T) {
	const text = "# a list\r\n" +
		"\n" +
		"Spam@Example.NET  sends   spam # since May\r\n" +
		"@Evil.example until=2027-01-31T00:00:00Z\n" +
		"192.0.2.0/24 until=2027-01-31T01:00:00+01:00 a botnet\n" +
		"spam@example.net another reason\n" +
		"Ann@Own.example\n" +
		"@own.example\n" +
		"127.0.0.0/8\n" +
		"::1"
	l, err := ParseList([]byte(text), []string{"own.example"})
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, e := range l.Entries {
		fmt.Fprintf(&got, "%s|%s|%s|%d\n", e.Target, e.Written, e.Reason, max(e.Until.Unix(), 0))
	}
	end := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC).Unix()
	want := fmt.Sprintf("spam@example.net|Spam@example.net|sends spam|0\n@evil.example|||%d\n192.0.2.0/24||a botnet|%d\nann@own.example|||0\n", end, end)
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
	if len(l.LeftOut) != 3 || l.LeftOut[0].String() != "line 8: @own.example is a domain of this site" || l.LeftOut[1].Line != 9 || l.LeftOut[2].Line != 10 {
		t.Errorf("left out %v", l.LeftOut)
	}
}

// TestAWrongListIsRefusedAsAWhole: the error names the line.
func TestAWrongListIsRefusedAsAWhole(t *testing.T) {
	var many strings.Builder
	for i := range MaxEntries {
		fmt.Fprintf(&many, "u%d@evil.example\n", i)
	}
	if l, err := ParseList([]byte(many.String()), nil); err != nil || len(l.Entries) != MaxEntries {
		t.Errorf("%d entries, %v", len(l.Entries), err)
	}
	for text, want := range map[string]string{
		"@good.example\nnonsense\n":              "line 2: invalid target nonsense",
		"\n\n192.0.2.1/24":                       "line 3: invalid range",
		"0.0.0.0/0":                              "line 1: the range 0.0.0.0/0 is too large",
		"2000::/3":                               "line 1: the range 2000::/3 is too large",
		"@a.example until=tomorrow":              `line 1: invalid until="tomorrow"`,
		"@a.example " + strings.Repeat("x", 257): "line 1: invalid reason",
		"@a.example \x1b[31m":                    "line 1: invalid reason",
		"@a.example \xff":                        "not UTF-8",
		"<html>":                                 "line 1: invalid target <html>",
		many.String() + "@one-more.example":      "line 20001: the list has more than 20000 entries",
		strings.Repeat("# comment\n", MaxOctets/10) + "@a.example # it is too long": "longer than 1048576 octets",
	} {
		l, err := ParseList([]byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) || len(l.Entries) != 0 {
			t.Errorf("%.40q: %d entries, %v; want %s", text, len(l.Entries), err, want)
		}
	}
}

func TestCompare(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l, err := ParseList([]byte("@same.example x\n@new.example\n@changed.example b\n@later.example until=2026-01-01T00:00:01Z\n@ended.example until=2026-01-01T00:00:00Z\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[protocol.BlockTarget]Entry{}
	for _, s := range []string{"@same.example x", "@changed.example a", "@gone.example", "@ended.example"} {
		target, reason, _ := strings.Cut(s, " ")
		blocks[protocol.CanonicalBlockTarget(target)] = Entry{Reason: reason}
	}
	d := l.Compare(blocks, now)
	var add []string
	for _, e := range d.Add {
		add = append(add, e.Target.String())
	}
	if fmt.Sprint(add) != "[@new.example @changed.example @later.example]" || d.New != 2 || fmt.Sprint(d.Remove) != "[{@ended.example} {@gone.example}]" && fmt.Sprint(d.Remove) != "[@ended.example @gone.example]" {
		t.Errorf("add %v, of them new %d, remove %v", add, d.New, d.Remove)
	}
}
