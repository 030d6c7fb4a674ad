package server

import (
	"reflect"
	"strings"
	"testing"

	"simpd/protocol"
)

// Both ways of parsing say the same, and only a response without a literal
// changes with its buffer.
func TestOnlyResponsesAreTransient(t *testing.T) {
	for text, transient := range map[string]bool{
		"m1 200": true, "m12 480 :gone": true, "m1 200 a=b :text": true,
		"m1 200 {5}": false, "1 PING": false, "1 SEND to=bob@example.com {3}": false, "x": false, "": false, "m ": false,
	} {
		var inPlace, copied, parsed protocol.Line
		one, other := parseTransient([]byte(text), &inPlace), parseCopied([]byte(text), &copied)
		if !reflect.DeepEqual(inPlace, copied) || !reflect.DeepEqual(one, other) {
			t.Errorf("%q is %+v (%v) or %+v (%v)", text, inPlace, one, copied, other)
		}
		buffer := []byte(text)
		_ = parseLine(buffer, &parsed)
		for i := range buffer {
			buffer[i] = '9'
		}
		if changed := parsed.Tag != copied.Tag || parsed.Text != copied.Text; changed != transient {
			t.Errorf("%q: it changes with its buffer: %t", text, changed)
		}
	}
}

func BenchmarkParseResponse(b *testing.B) {
	short, long := []byte("m12345 200"), []byte("m12345 486 :"+strings.Repeat("x", 200))
	for name, parse := range map[string]func([]byte, *protocol.Line) error{"transient": parseTransient, "copied": parseCopied} {
		for length, text := range map[string][]byte{"short": short, "long": long} {
			b.Run(length+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var l protocol.Line
				for b.Loop() {
					if err := parse(text, &l); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
