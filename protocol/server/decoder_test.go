package server

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"simpd/protocol"
)

// readAllOf reads octets in the pieces that cut says, and tells what was
// found, request by request, up to the error.
func readAllOf(octets []byte, cut func(left int) int) (found []string, err error) {
	var state sessionState
	state.setPhase(phaseAuthenticated)
	in := decoder{maxMessage: 1000, state: &state}
	for len(octets) > 0 && err == nil {
		n := cut(len(octets))
		piece := bytes.Clone(octets[:n])
		octets = octets[n:]
		for len(piece) > 0 && err == nil {
			var r *request
			piece, r, err = in.nextRequest(piece)
			if r != nil {
				found = append(found, fmt.Sprintf("%+v %q %v %v", r.line, r.literal, r.tooLarge, r.err))
			}
		}
	}
	if err == nil && in.isPartial() {
		found = append(found, "…")
	}
	return found, err
}

// However the octets are cut up, what is found in them is the same.
func checkCuts(t *testing.T, octets []byte, random *rand.Rand) {
	t.Helper()
	want, wantErr := readAllOf(octets, func(left int) int { return left })
	for name, cut := range map[string]func(int) int{
		"by ones":   func(int) int { return 1 },
		"at random": func(left int) int { return 1 + random.IntN(min(left, 50)) },
	} {
		got, err := readAllOf(octets, cut)
		if len(got) > len(want) && err == nil {
			t.Fatalf("%s: %q\nwhole: %q", name, got, want)
		}
		if !sameError(err, wantErr) || strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("of %q\ncut %s: %q %v\nwhole:  %q %v", octets, name, got, err, want, wantErr)
		}
	}
}

// sameError: which of several faults in a line is told may depend on how much
// of it has come.
func sameError(a, b error) bool { return (a == nil) == (b == nil) }

func TestInputIsTheSameHoweverCut(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	parts := []string{
		"1 PING\r\n", "\r\n", "2 SEND to=bob@example.com {5}\r\nhello", "3 SEND to=a@example.com {0}\r\n",
		"4 SEND to=a@example.com {2000}\r\n" + strings.Repeat("y", 2000), "m1 200 :thanks\r\n", "? x\r\n",
		"5 LISTEN note=\"ä {5}\"\r\n", "6 AUTH mech=PLAIN {3}\r\n\r\n\n", "7 LISTEN {2}\r\nxx", "8 DANCE x\r\n",
		"9 PING x=" + strings.Repeat("z", 4000) + "\r\n",
	}
	for range 300 {
		var all strings.Builder
		for range random.IntN(20) {
			all.WriteString(parts[random.IntN(len(parts))])
		}
		checkCuts(t, []byte(all.String()), random)
	}
}

func FuzzInput(f *testing.F) {
	for _, s := range []string{
		"1 PING\r\n", "2 SEND to=b@example.com {5}\r\nhello", "1 PING\n", "\x16\x03", "GET / HTTP/1.1\r\n", "1 SEND {05}\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		checkCuts(t, octets, rand.New(rand.NewPCG(5, 6)))
	})
}

func TestInputErrors(t *testing.T) {
	for octets, want := range map[string]error{
		"\x16":                              errTLS,
		"get / http/1.1\r\n":                errHTTP,
		"1 SEND to=a@b.example {16001}\r\n": errTooLarge,
		"1 PING\n":                          protocol.ErrBareLF,
	} {
		if _, err := readAllOf([]byte(octets), func(left int) int { return left }); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", octets, err, want)
		}
	}
}

// A literal that is announced costs nothing before it comes.
func TestLiteralTakesMemoryAsItComes(t *testing.T) {
	var state sessionState
	state.setPhase(phaseAuthenticated)
	in := decoder{maxMessage: 64 << 10, state: &state}
	if _, r, err := in.nextRequest([]byte("1 SEND to=bob@example.com {65536}\r\nx")); r != nil || err != nil {
		t.Fatal(r, err)
	}
	if c := cap(in.pending.literal); c > 1024 {
		t.Errorf("%d octets are held for one that came", c)
	}
	state.setPhase(phaseGreeted)
	in = decoder{maxMessage: 64 << 10, state: &state}
	if _, r, err := in.nextRequest([]byte("1 SEND to=bob@example.com {65536}\r\nxxxxxxxx")); r != nil || err != nil || in.pending.literal != nil {
		t.Error("a client that is not authenticated has its message held")
	}
}

func BenchmarkParseSEND(b *testing.B) {
	var state sessionState
	state.setPhase(phaseAuthenticated)
	in := decoder{maxMessage: 64 << 10, state: &state}
	octets := []byte("1 SEND to=bob@example.com {100}\r\n" + strings.Repeat("x", 100))
	b.ReportAllocs()
	for b.Loop() {
		_, r, err := in.nextRequest(octets)
		if err != nil || r == nil {
			b.Fatal(err)
		}
		r.free()
	}
}
