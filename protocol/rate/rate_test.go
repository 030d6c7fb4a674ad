package rate

import (
	"math"
	"testing"
	"time"
)

func TestBurstThenRate(t *testing.T) {
	l := NewLimit(10, 5)
	var b Bucket
	now := time.Hour
	for i := range 5 {
		if !b.Take(l, 1, now) {
			t.Fatalf("token %d of a burst of 5 is refused", i+1)
		}
	}
	if b.Take(l, 1, now) {
		t.Fatal("a burst of 5 gives 6")
	}
	if wait := b.Wait(l, 1, now); wait != 100*time.Millisecond {
		t.Errorf("the next token comes in %v, not 100ms", wait)
	}
	if b.Take(l, 1, now+100*time.Millisecond-1) {
		t.Error("a token came early")
	}
	if !b.Take(l, 1, now+100*time.Millisecond) {
		t.Error("no token came in 100ms")
	}
	if !b.IsFull(now+time.Second) || b.IsFull(now+500*time.Millisecond) {
		t.Error("the bucket must be full after 600ms")
	}
}

func TestTakeIsAllOrNothing(t *testing.T) {
	l := NewLimit(1, 4)
	var b Bucket
	if b.Take(l, 5, 0) {
		t.Error("5 tokens were taken from 4")
	}
	if !b.Take(l, 4, 0) {
		t.Error("a refusal took tokens")
	}
	if b.Take(l, math.MaxInt, 0) {
		t.Error("an absurd number of tokens was taken")
	}
	if wait := b.Wait(l, 100, 0); wait != 4*time.Second {
		t.Errorf("more than the burst is waited for %v, not until the bucket is full", wait)
	}
}

func TestSpendOwes(t *testing.T) {
	l := NewLimit(100, 10)
	var b Bucket
	b.Spend(l, 60, 0)
	if wait := b.Wait(l, 1, 0); wait != 510*time.Millisecond {
		t.Errorf("after 60 of 10 the next comes in %v", wait)
	}
	b.Spend(l, math.MaxInt, 0)
	if wait := b.Wait(l, 1, 0); wait > time.Hour {
		t.Errorf("a bucket owes for %v", wait)
	}
}

func TestDivide(t *testing.T) {
	l := NewLimit(2, 3).Divide(10)
	var b Bucket
	if b.Take(l, 31, 0) || !b.Take(l, 30, 0) {
		t.Error("30 tenths are a burst of 3")
	}
	if wait := b.Wait(l, 10, 0); wait != 500*time.Millisecond {
		t.Errorf("the next ten tenths come in %v, not 500ms", wait)
	}
	if !Unlimited.Divide(5).IsUnlimited() {
		t.Error("a part of no limit is a limit")
	}
}

func TestUnlimited(t *testing.T) {
	var b Bucket
	for range 1000 {
		if !b.Take(Unlimited, math.MaxInt, 0) {
			t.Fatal("refused")
		}
	}
	b.Spend(Unlimited, 5, 0)
	if b.Wait(Unlimited, 1, 0) != 0 || b != (Bucket{}) {
		t.Error("an unlimited bucket counts")
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"1": "1:1", "0.5": "0.5:1", "20:50": "20:50", "off": "off", "0.1:10": "0.1:10", "1000": "1000:1000",
	} {
		l, err := Parse(in)
		if err != nil || l.String() != want {
			t.Errorf("Parse(%q) = %v, %v; want %s", in, l, err, want)
		}
	}
	for _, in := range []string{"", "0", "-1", "1:", "1:0.5", ":5", "x", "1:2:3", "NaN", "1:NaN", "Inf", "1e10", "OFF "} {
		if l, err := Parse(in); err == nil {
			t.Errorf("Parse(%q) = %v without an error", in, l)
		}
	}
}

func TestRateIsKeptOverTime(t *testing.T) {
	l := NewLimit(7, 3)
	var b Bucket
	taken := 0
	for now := time.Duration(0); now < 10*time.Second; now += 3 * time.Millisecond {
		if b.Take(l, 1, now) {
			taken++
		}
	}
	if taken < 71 || taken > 73 {
		t.Errorf("7 a second and a burst of 3 gave %d in 10 s", taken)
	}
}
