//go:build linux

package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"simpd/cmd/simpbench/host"
)

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 2: {3, 1, 2}, 2.5: {4, 1, 2, 3}} {
		if got := median(values); got != want {
			t.Errorf("median(%v) = %v", values, got)
		}
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	if got := ratios([]float64{10, 30}, []float64{10, 20}); !slices.Equal(got, []float64{1, 1.5}) {
		t.Error(got)
	}
	if got := ratios([]float64{10, 20, 30}, []float64{10, 10}); !slices.Equal(got, []float64{2}) {
		t.Error(got)
	}
}

func TestDigits(t *testing.T) {
	for want, v := range map[string]float64{"0": 0, "1234": 1234.4, "12.3": 12.34, "1.23": 1.234, "0.123": 0.1234, "0.0123": 0.01234} {
		if got := digits3(v); got != want {
			t.Errorf("digits3(%v) = %s, want %s", v, got, want)
		}
	}
}

// sample is a run with a row that meets its goal and one that does not.
func sample(simpd float64) *results {
	r := &results{Format: resultFormat, Machine: host.Machine{Processor: "P", Processors: 2}, Runs: 2, Duration: "1s"}
	const metric = "CPU a message, 100 octets"
	for _, v := range []float64{20, 25} {
		r.add(key{"pairs", metric, "µs", relayName}, v)
		r.add(key{"pairs", metric, "µs", simpdName}, v*simpd)
	}
	r.add(key{"ramp", "memory a session, at 1000", "KiB", relayName}, 8)
	r.add(key{"ramp", "memory a session, at 1000", "KiB", simpdName}, 5)
	r.add(key{"ramp", "CPU a login, up to 1000", "µs", simpdName}, 50)
	r.add(key{"ramp", "CPU a login, up to 5000", "µs", simpdName}, 60)
	return r
}

func TestPrint(t *testing.T) {
	var b bytes.Buffer
	if err := sample(1.1).print(&b); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{
		"pairs CPU a message, 100 octets µs 22.5 (20.0–25.0) simpd 24.8 (22.0–27.5) 1.10 (1.10–1.10) ≤ 1.2 × relay: met",
		"ramp memory a session, at 1000 KiB 8.00 simpd 5.00 0.625 ≤ 4 KiB: not met",
		"CPU a login, simpd: the medians of 2 sizes within 1.20 times of each other; goal ≤ 1.3: met",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestCompareTakesTheRelayOut(t *testing.T) {
	before, after := sample(2), sample(1)
	for _, s := range after.Series {
		for i := range s.Values {
			s.Values[i] *= 3 // another, slower hour
		}
	}
	var b bytes.Buffer
	if err := compare(&b, before, after); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	want := "pairs CPU a message, 100 octets simpd × relay 2.00 (2.00–2.00) 1.00 (1.00–1.00) -50.0 %"
	if !strings.Contains(text, want) {
		t.Errorf("%q is missing in\n%s", want, b.String())
	}
}

func TestResultsAreReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results.json")
	r := sample(1)
	if err := r.write(new(bytes.Buffer), file); err != nil {
		t.Fatal(err)
	}
	got, err := readResults(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Series) != len(r.Series) || !slices.Equal(got.Series[1].Values, r.Series[1].Values) || got.Series[1].key != r.Series[1].key {
		t.Errorf("%+v", got)
	}
}

func TestEveryGoalIsOfARow(t *testing.T) {
	rows := map[string]bool{}
	for _, r := range longRows() {
		rows[r.name] = true
	}
	for _, g := range goals() {
		if !rows[g.row] {
			t.Errorf("no row is named %s", g.row)
		}
	}
}
