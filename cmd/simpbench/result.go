//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"simpd/cmd/simpbench/host"
)

// results holds the results of a run of simpbench, in the form of its JSON.
type results struct {
	Format     int          `json:"format"`
	Began      time.Time    `json:"began"`
	Machine    host.Machine `json:"machine"`
	Simpd      string       `json:"simpd,omitempty"` // its version
	ServerCPUs string       `json:"server_cpus"`
	LoadCPUs   string       `json:"load_cpus"`
	Runs       int          `json:"runs"`
	Duration   string       `json:"duration"`
	Series     []*series    `json:"series"`
	Failures   []string     `json:"failures,omitempty"`
}

// resultFormat changes when what a field means does.
const resultFormat = 1

// key says what a value is of.
type key struct {
	Row     string `json:"row"`
	Metric  string `json:"metric"`
	Unit    string `json:"unit,omitempty"`
	Subject string `json:"subject"`
}

// series is one value a round.
type series struct {
	key
	Values []float64 `json:"values"`
}

func newResults(b *bench, m host.Machine) *results {
	return &results{Format: resultFormat, Began: time.Now().UTC().Truncate(time.Second), Machine: m,
		Simpd: version(b.settings.simpd), ServerCPUs: b.servers.String(), LoadCPUs: b.clients.String(),
		Runs: b.runs, Duration: b.duration.String()}
}

// version asks the program for its own; "" if it does not say.
func version(program string) string {
	if program == "" {
		return ""
	}
	out, err := exec.Command(program, "version").Output()
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}

func (r *results) add(k key, value float64) {
	s := r.find(k)
	if s == nil {
		s = &series{key: k}
		r.Series = append(r.Series, s)
	}
	s.Values = append(s.Values, value)
}

// find returns the series of k, or nil.
func (r *results) find(k key) *series {
	i := slices.IndexFunc(r.Series, func(s *series) bool { return s.key == k })
	if i < 0 {
		return nil
	}
	return r.Series[i]
}

// write prints the table to out, and the JSON into a file; for file "-", only
// the JSON to out.
func (r *results) write(out io.Writer, file string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	b = append(b, '\n')
	switch file {
	case "-":
		_, err = out.Write(b)
	case "":
		err = r.print(out)
	default:
		err = errors.Join(r.print(out), os.WriteFile(file, b, 0o644))
	}
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}

func readResults(file string) (*results, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r results
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if r.Format != resultFormat {
		return nil, fmt.Errorf("%s: results of format %d, and this program reads %d", file, r.Format, resultFormat)
	}
	return &r, nil
}
