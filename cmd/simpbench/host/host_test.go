//go:build linux

package host

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseCPUs(t *testing.T) {
	got, err := ParseCPUs("0,2-4")
	if err != nil || !slices.Equal(got, CPUs{0, 2, 3, 4}) || got.String() != "0,2,3,4" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "3-1", "-1", "5000"} {
		if got, err := ParseCPUs(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestSplit(t *testing.T) {
	servers, load, shared := CPUs{0, 1, 2}.Split()
	if servers.String() != "2" || load.String() != "0,1" || shared {
		t.Errorf("%v %v %v", servers, load, shared)
	}
	if _, _, shared := (CPUs{0}).Split(); !shared {
		t.Error("one processor is not shared")
	}
}

// shell starts a script on the last usable processor.
func shell(t *testing.T, script string) *Process {
	all, err := Usable()
	if err != nil {
		t.Fatal(err)
	}
	servers, _, _ := all.Split()
	p, err := Start(Command{Name: "shell", Path: "/bin/sh", Args: []string{"-c", script},
		CPUs: servers, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func TestProcessIsCounted(t *testing.T) {
	p := shell(t, "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; exec sleep 60")
	worked := func(context.Context) error {
		used, err := p.CPU()
		if err == nil && used < 5*time.Millisecond {
			err = errors.New("it has hardly worked yet")
		}
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Await(ctx, worked); err != nil {
		t.Error(err)
	}
}

func TestMemory(t *testing.T) {
	p := shell(t, "exec sleep 60")
	m, err := p.Memory()
	if err != nil || m.Resident < 1<<10 || m.Peak < m.Resident {
		t.Errorf("%+v, %v", m, err)
	}
	p.Kill()
	if _, err := p.Memory(); err == nil {
		t.Error("an ended process has memory")
	}
}

func TestAwaitTellsWhatWasPrinted(t *testing.T) {
	p := shell(t, "echo no such flag >&2; exit 2")
	err := p.Await(t.Context(), func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "exit status 2") || !strings.Contains(err.Error(), "no such flag") {
		t.Error(err)
	}
}

func TestPorts(t *testing.T) {
	ports, err := Ports(5)
	if err != nil || len(ports) != 5 || len(slices.Compact(ports)) != 5 {
		t.Errorf("%v, %v", ports, err)
	}
}

func TestThisMachine(t *testing.T) {
	if m := ThisMachine(); m.Processors < 1 || m.Kernel == "" || m.MemoryMiB < 1 {
		t.Errorf("%+v", m)
	}
}
