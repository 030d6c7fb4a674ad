package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"simpd/cmd/simpd/site"
)

// group is the control group of node i's memory.
func group(i int) string {
	root := "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup" // the newer kind
	}
	return filepath.Join(root, fmt.Sprintf("simplab%d-%d", os.Getpid(), i))
}

// inGroup is the command that runs a program in that group.
func inGroup(i int) []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group(i), "cgroup.procs")}
}

// limitMemory makes the groups, and says to the nodes what they would find
// out themselves in a group of the newer kind.
func (l *lab) limitMemory() error {
	for i := range l.nodes {
		dir := group(i + 1)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		file := filepath.Join(dir, "memory.limit_in_bytes")
		if _, err := os.Stat(file); err != nil {
			file = filepath.Join(dir, "memory.max")
		}
		if err := os.WriteFile(file, []byte(fmt.Sprint(l.memory<<20)), 0o644); err != nil {
			return err
		}
	}
	l.site.Env = append(l.site.Env, fmt.Sprintf("GOMEMLIMIT=%dKiB", l.memory<<10/10*9))
	return nil
}

func (l *lab) removeGroups() {
	for i := range l.nodes {
		_ = os.Remove(group(i + 1)) // it may not have been made
	}
}

// survives fails if the kernel or the node itself has ended it.
func (l *lab) survives(n *site.Node) error {
	if ended(n) {
		return fmt.Errorf("%s has ended: %s", n.ID, lastLine(n.Said()))
	}
	for _, name := range []string{"memory.oom_control", "memory.events"} {
		said, err := os.ReadFile(filepath.Join(group(n.Number), name))
		if err == nil && strings.Contains(string(said), "oom_kill ") && !strings.Contains(string(said), "oom_kill 0\n") {
			return fmt.Errorf("the kernel has killed in the group of %s: %s", n.ID, said)
		}
	}
	return nil
}
