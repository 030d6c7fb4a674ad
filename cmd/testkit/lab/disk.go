package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"simpd/cmd/testkit/isolate"
	"simpd/cmd/testkit/site"
)

// diskSize is that of each node's own file system, in MiB.
const diskSize = 96

// diskFaults slow, stall, fail, fill and damage what a node writes to.
func diskFaults() []injector {
	return []injector{
		{"slow disk", slowDisk, time.Second, 10 * time.Second, false}, // strace holds up its other calls, too
		{"slow disk of the leader", slowLeaderDisk, time.Second, 8 * time.Second, false},
		{"stalled disk", stalledDisk, 5 * time.Second, 8 * time.Second, false},
		{"failing disk", failingDisk, 500 * time.Millisecond, 4 * time.Second, false},
		{"full disk", fullDisk, time.Second, 10 * time.Second, false},
		{"full disk of the leader", fullLeaderDisk, time.Second, 8 * time.Second, false},
		{"damaged file", damage, 0, time.Second, false},
		{"power lost", powerLost, 0, 4 * time.Second, false},
		{"power lost everywhere", allPowerLost, 0, time.Second, false},
	}
}

// makeDisks gives each node a small file system of its own, as a file in
// memory: one whose power can be lost.
func (l *lab) makeDisks() error {
	// What is unmounted here is to be so for all nodes: each sees mounts in a
	// namespace of its own (ip netns exec), as this laboratory does.
	if err := isolate.Run("mount", "--make-rshared", "/"); err != nil {
		return err
	}
	l.shelf = filepath.Join(l.dir, "disks")
	if err := os.Mkdir(l.shelf, 0o700); err != nil {
		return err
	}
	size := (diskSize + 8) * len(l.site.Nodes)
	if err := isolate.Run("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm,mode=0700", size), "simplab", l.shelf); err != nil {
		return err
	}
	for _, n := range l.site.Nodes {
		if err := l.makeDisk(n); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) makeDisk(n *site.Node) error {
	if err := os.Mkdir(n.Dir, 0o700); err != nil {
		return err
	}
	if err := isolate.Run("mkfs.ext4", "-q", "-F", l.image(n), fmt.Sprintf("%dm", diskSize)); err != nil {
		return err
	}
	if err := l.mountDisk(n); err != nil {
		return err
	}
	l.disks = append(l.disks, n.Dir)
	if err := os.Remove(filepath.Join(n.Dir, "lost+found")); err != nil {
		return err
	}
	return os.Chmod(n.Dir, 0o700)
}

func (l *lab) image(n *site.Node) string { return filepath.Join(l.shelf, n.ID) }

func (l *lab) mountDisk(n *site.Node) error {
	return isolate.Run("mount", "-t", "ext4", "-o", "loop,errors=remount-ro", l.image(n), n.Dir)
}

// removeDisks keeps what is on the disks beside them if keep is set.
func (l *lab) removeDisks(keep bool) {
	for _, d := range l.disks {
		if keep {
			isolate.Quietly("cp", "-a", d, d+".kept")
		}
		isolate.Quietly("umount", "-l", d)
	}
	if l.shelf != "" {
		isolate.Quietly("umount", "-l", l.shelf)
	}
	l.disks, l.shelf = nil, ""
}

// traced has strace meddle with a node's writes to Raft's log until stopped.
func (l *lab) traced(n *site.Node, inject string) ([]int, string, func() error, error) {
	log := filepath.Join(n.Dir, "raft.db")
	cmd := exec.Command("strace", "-f", "-q", "-o", filepath.Join(l.dir, "strace.out"), "-p", fmt.Sprint(n.Process.Pid),
		"-P", log, "-e", "trace=fdatasync", "-e", "inject=fdatasync:"+inject)
	if err := cmd.Start(); err != nil {
		return nil, "", nil, err
	}
	return []int{n.Number}, inject, func() error {
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the process
		// It does not where the process ended while it held up a write.
		held := time.AfterFunc(time.Second, func() { _ = cmd.Process.Kill() })
		defer held.Stop()
		_ = cmd.Wait()
		return nil
	}, nil
}

func slowDisk(l *lab) ([]int, string, func() error, error) { return l.slow(l.someNode()) }

func slowLeaderDisk(l *lab) ([]int, string, func() error, error) { return l.slow(l.leader()) }

func (l *lab) slow(n *site.Node) ([]int, string, func() error, error) {
	return l.traced(n, fmt.Sprintf("delay_enter=%d", 1000*(20+l.intN(480))))
}

// stalledDisk ends the process, sooner or later.
func stalledDisk(l *lab) ([]int, string, func() error, error) {
	n := l.someNode()
	nodes, note, end, err := l.traced(n, "delay_enter=20000000")
	return nodes, note, func() error {
		if err := end(); err != nil {
			return err
		}
		if _, err := n.Ended(time.Second); err != nil {
			l.notes["a stalled disk ended no process: nothing was written"]++
		} else {
			l.notes["a stalled disk ended the process"]++
		}
		return nil
	}, err
}

func failingDisk(l *lab) ([]int, string, func() error, error) {
	return l.traced(l.someNode(), "error=EIO")
}

func fullDisk(l *lab) ([]int, string, func() error, error) { return l.fill(l.someNode()) }

func fullLeaderDisk(l *lab) ([]int, string, func() error, error) { return l.fill(l.leader()) }

// fill leaves no room on a node's disk.
func (l *lab) fill(n *site.Node) ([]int, string, func() error, error) {
	ballast := filepath.Join(n.Dir, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, "", nil, err
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	_ = f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		return nil, "", nil, err
	}
	return []int{n.Number}, "", func() error {
		l.notes[fmt.Sprintf("a full disk ended the process: %v", ended(n))]++
		return os.Remove(ballast)
	}, nil
}

// damage flips bits of a file of a node that is down, or cuts it. The node is
// to refuse it in a sentence, or not to care; then it joins as new.
func damage(l *lab) ([]int, string, func() error, error) {
	n := l.someNode()
	n.Kill()
	what, err := spoil(l.r, n.Dir)
	if err != nil {
		return nil, "", nil, err
	}
	return []int{n.Number}, what, func() error { return l.repair(n, what) }, nil
}

// spoil damages one file.
func spoil(r *rand.Rand, dir string) (string, error) {
	files := []string{"raft.db", "marker.json"}
	states, _ := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	for _, s := range states {
		name, _ := filepath.Rel(dir, s)
		files = append(files, name)
	}
	name := files[r.IntN(len(files))]
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	switch r.IntN(4) {
	case 0:
		n := r.IntN(len(b))
		return fmt.Sprintf("%s cut to %d of %d octets", name, n, len(b)), os.Truncate(path, int64(n))
	case 1:
		return name + " emptied", os.Truncate(path, 0)
	case 2:
		return name + " removed", os.Remove(path)
	}
	for range 1 + r.IntN(64) {
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
	}
	return name + " flipped", os.WriteFile(path, b, 0o600)
}

// repair starts the node; where it refuses its data, it joins as new.
func (l *lab) repair(n *site.Node, what string) error {
	if err := n.Begin(); err != nil {
		return err
	}
	err := n.Ready(recovery)
	if !errors.Is(err, site.ErrEnded) {
		l.notes["damage that was borne"]++
		return err
	}
	said := strings.TrimSpace(n.Said())
	if code, _ := n.Ended(time.Second); code != 1 || !strings.Contains(lastLine(said), "simpd: ") || !strings.Contains(said, "wipe") {
		l.strange = append(l.strange, fmt.Sprintf("%s with %s exits %d: %s", n.ID, what, code, lastLine(said)))
	}
	l.notes["damage that was refused"]++
	if err := l.joinAnew(n); err != nil {
		return fmt.Errorf("after %s: %w", what, err)
	}
	return nil
}

// joinAnew does what the refusal says.
func (l *lab) joinAnew(n *site.Node) error {
	other := l.site.Nodes[n.Number%len(l.site.Nodes)]
	limit := time.After(recovery)
	for {
		code, said, err := l.site.Simpctl(other, "node", "remove", n.ID, "--yes")
		if err != nil {
			return err
		}
		if code == 0 {
			break
		}
		select {
		case <-limit:
			return fmt.Errorf("simpctl node remove %s exits %d: %s", n.ID, code, said)
		case <-time.After(200 * time.Millisecond):
		}
	}
	if code, said, err := l.site.Simpctl(other, "node", "admit", n.ID); err != nil || code != 0 {
		return fmt.Errorf("simpctl node admit %s exits %d: %s: %w", n.ID, code, said, err)
	}
	if !l.site.Insecure {
		if err := l.site.RenewKeys(n); err != nil {
			return err
		}
	}
	if err := l.site.Succeed("", "simpd", "wipe", "--data-dir", n.Dir, "--yes"); err != nil {
		return err
	}
	return n.Begin()
}
