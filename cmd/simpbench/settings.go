//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"simpd/cmd/simpbench/host"
)

// settings holds the flags that all rows share.
type settings struct {
	runs     int
	duration time.Duration // of a measurement
	warmup   time.Duration // before it
	settle   time.Duration // before memory is read
	short    bool
	atATime  int // logins

	simpd      string // the program
	dir        string // where data directories are made
	subjects   string // "both", or the name of one
	serverCPUs string
	loadCPUs   string
	json       string // a file, or "-"
}

func newSettings() *settings { return &settings{} }

func (s *settings) addFlags(f *pflag.FlagSet) {
	f.IntVar(&s.runs, "runs", 3, "rounds; in each, every subject is started anew")
	f.DurationVar(&s.duration, "duration", 3*time.Second, "how long a measurement takes")
	f.DurationVar(&s.warmup, "warmup", 500*time.Millisecond, "how long the load lasts before it is measured")
	f.DurationVar(&s.settle, "settle", 3*time.Second, "how long sessions idle before memory is read")
	f.IntVar(&s.atATime, "at-a-time", 64, "logins under way at one moment")
	f.BoolVar(&s.short, "short", false, "one round with smaller numbers, for a first look")
	f.StringVar(&s.simpd, "simpd", "", "the server's program (default: simpd beside this one, or in PATH)")
	f.StringVar(&s.dir, "dir", "", "where data directories are made; a disk, not memory (default: the system's)")
	f.StringVar(&s.subjects, "subject", "both", "relay, simpd or both")
	f.StringVar(&s.serverCPUs, "server-cpus", "", "processors of the servers, as 0,2-3 (default: the last one)")
	f.StringVar(&s.loadCPUs, "load-cpus", "", "processors of the clients (default: all others)")
	f.StringVar(&s.json, "json", "", "a file for the results as JSON; - prints them instead of the table")
}

// check says what is wrong with the flags.
func (s *settings) check() error {
	switch {
	case s.runs < 1 || s.runs > 100:
		return errors.New("--runs: 1 to 100")
	case s.duration < 100*time.Millisecond || s.duration > 10*time.Minute:
		return errors.New("--duration: 100ms to 10m")
	case s.atATime < 1 || s.atATime > 2000:
		return errors.New("--at-a-time: 1 to 2000")
	case s.warmup < 0 || s.settle < 0:
		return errors.New("--warmup and --settle can't be negative")
	case s.subjects != "both" && s.subjects != relayName && s.subjects != simpdName:
		return fmt.Errorf("--subject: %q is none of relay, simpd and both", s.subjects)
	}
	return nil
}

// shorten makes the numbers small, where --short says so.
func (s *settings) shorten() {
	if s.short {
		s.runs, s.duration, s.warmup, s.settle = 1, time.Second, 300*time.Millisecond, 3*time.Second
	}
}

// program finds simpd.
func (s *settings) program() (string, error) {
	if s.simpd != "" {
		return s.simpd, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), "simpd")
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath("simpd")
	if err != nil {
		return "", fmt.Errorf("simpd is neither beside simpbench nor in PATH: --simpd says where it is: %w", err)
	}
	return path, nil
}

// place divides the processors, and moves this process to its own.
func (s *settings) place() (servers, clients host.CPUs, err error) {
	all, err := host.Usable()
	if err != nil {
		return nil, nil, err
	}
	servers, clients, _ = all.Split()
	if s.serverCPUs != "" {
		if servers, err = host.ParseCPUs(s.serverCPUs); err != nil {
			return nil, nil, fmt.Errorf("--server-cpus: %w", err)
		}
	}
	if s.loadCPUs != "" {
		if clients, err = host.ParseCPUs(s.loadCPUs); err != nil {
			return nil, nil, fmt.Errorf("--load-cpus: %w", err)
		}
	}
	return servers, clients, host.Pin(clients)
}
