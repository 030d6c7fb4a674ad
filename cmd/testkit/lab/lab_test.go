package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"simpd/cmd/testkit/site"
)

// TestFaults is the short form of the laboratory, which needs no root: nodes
// are killed, paused and stopped while clients of all kinds talk.
func TestFaults(t *testing.T) {
	bin := t.TempDir()
	if _, err := site.Output(exec.Command("go", "build", "-o", bin, "simpd/cmd/simpd", "simpd/cmd/simpctl"), site.LongestBuild); err != nil {
		t.Fatal(err)
	}
	var err error
	p := plan{
		seed: uint64(time.Now().UnixNano()), bin: bin, length: 12 * time.Second, pause: 10 * time.Millisecond,
		nodes: 3, faults: shortFaults(), shared: true,
	}
	if p.dir, err = os.MkdirTemp("", "simpd-lab-"); err != nil {
		t.Fatal(err)
	}
	r, err := round(p)
	if err != nil {
		t.Fatalf("seed %d: %v (see %s)", p.seed, err, p.dir)
	}
	r.print(t.Output())
	if len(r.wrong) > 0 {
		t.Errorf("seed %d: promises were broken", p.seed)
	}
}

// shortFaults last a few seconds at most.
func shortFaults() []injector {
	all := loopbackFaults()
	for i := range all {
		all[i].most = min(all[i].most, max(all[i].least, 3*time.Second))
	}
	return all
}
