//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"strings"
	"testing"

	"simpd/cmd/simpbench/host"
)

// asProgram in the environment makes the test's own program simpbench: the
// rows start themselves as the relay.
const asProgram = "SIMPBENCH_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Setenv(asProgram, "1")
	os.Exit(m.Run())
}

// runBench runs simpbench, and puts the processors back as they were.
func runBench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	all, err := host.Usable()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := host.Pin(all); err != nil {
			t.Error(err)
		}
	}()
	var out, errs bytes.Buffer
	code = run(t.Context(), append(args, "--dir", t.TempDir()), &out, &errs)
	return code, out.String(), errs.String()
}

func TestRowsOnTheRelay(t *testing.T) {
	for _, args := range []string{
		"pairs --pairs 5 --octets 10", "oneway --pairs 2 --window 8", "paced --pairs 5 --rate 200",
		"presence --watchers 5 --total 10", "ramp --steps 20,40",
	} {
		name, _, _ := strings.Cut(args, " ")
		t.Run(name, func(t *testing.T) {
			short := "--subject relay --runs 1 --duration 100ms --warmup 10ms --settle 10ms --json -"
			code, out, errs := runBench(t, strings.Fields(args+" "+short)...)
			var r results
			if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
				t.Fatalf("exit %d, %v: %s", code, err, errs)
			}
			checkSeries(t, &r, name)
		})
	}
}

// checkSeries wants a positive processor time among the row's values.
func checkSeries(t *testing.T, r *results, row string) {
	t.Helper()
	found := false
	for _, s := range r.Series {
		if s.Row != row || s.Subject != relayName || len(s.Values) != 1 {
			t.Errorf("%+v", s)
		}
		found = found || strings.HasPrefix(s.Metric, "CPU") && s.Values[0] > 0
	}
	if !found {
		t.Errorf("no processor time in %d series", len(r.Series))
	}
}

func TestTable(t *testing.T) {
	code, out, errs := runBench(t, "table", "--bindings", "1000", "--runs", "1", "--json", "-")
	if code != 0 || !strings.Contains(out, "NodeDown of a third, 1000 bindings") {
		t.Errorf("exit %d: %s%s", code, errs, out)
	}
}

func TestWrongUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                                      "a command is missing",
		"pairs --runs 0":                        "--runs",
		"pairs --pairs 0":                       "--pairs: 0 is not 1 to 8000",
		"ramp --steps 5,3":                      "--steps",
		"storm --victim n1":                     "--victim",
		"pairs --subject x":                     "--subject",
		"pairs --subject relay --server-cpus x": "--server-cpus",
		"compare only-one":                      "accepts 2 arg(s)",
		"pairs --simpd /none --runs 1 --subject simpd": "start node n1",
	} {
		code, _, errs := runBench(t, strings.Fields(args)...)
		if code == 0 || !strings.Contains(errs, want) {
			t.Errorf("simpbench %s: exit %d, %s", args, code, errs)
		}
	}
}
