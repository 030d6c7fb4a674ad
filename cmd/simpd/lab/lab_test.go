package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestFaults is the short form of the laboratory, which needs no root: nodes
// are killed, paused and stopped while clients of all kinds talk.
func TestFaults(t *testing.T) {
	bin := t.TempDir()
	out, err := exec.Command("go", "build", "-o", bin, "simpd/cmd/simpd", "simpd/cmd/simpctl").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := plan{seed: uint64(time.Now().UnixNano()), bin: bin, length: 25 * time.Second, pause: 10 * time.Millisecond, nodes: 3, faults: loopbackFaults()}
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
