package protocol

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Times are written as package time writes them.
func TestAppendTimeIsTimeFormat(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	moments := []time.Time{{}, time.Unix(0, 0), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5, 2, 3, 4, 5, 6, 7, time.UTC),
		time.Date(2024, 2, 29, 1, 2, 3, 4000000, time.FixedZone("", -5*3600-1800))}
	for range 10_000 {
		moments = append(moments, time.Unix(random.Int64N(250_000_000_000), random.Int64N(1e9)))
	}
	for _, at := range moments {
		got := string(AppendTime(nil, "time", at))
		if want := " time=" + at.UTC().Format(TimeFormat); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// A text is one line, not too long, whatever it is made of.
func TestAppendTextIsALine(t *testing.T) {
	for _, text := range []string{
		"", "delivered", "ü\u0000\r\n\x7f\xff", strings.Repeat("x", MaxText), strings.Repeat("x", MaxText+1), strings.Repeat("ü", MaxText),
	} {
		got := string(AppendText(nil, text))
		if !strings.HasPrefix(got, " :") || len(got) > MaxText+2 || hasControl(got[2:]) {
			t.Errorf("%q is written %q", text, got)
		}
	}
	if got := string(AppendText(nil, "a b~")); got != " :a b~" {
		t.Errorf("got %q", got)
	}
}

func BenchmarkAppendTime(b *testing.B) {
	now := time.Now()
	buf := make([]byte, 0, 64)
	for b.Loop() {
		buf = AppendTime(buf[:0], "time", now)
	}
}
