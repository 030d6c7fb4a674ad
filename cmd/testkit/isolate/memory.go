package isolate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Groups are control groups that limit the memory of a site's nodes.
type Groups struct {
	Nodes int
	MiB   int // that each may use
}

// MissingGroups names the memory controller if this machine lacks it.
func MissingGroups() []string {
	dir := filepath.Join(groupRoot(), fmt.Sprintf("simplab%d-try", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return []string{"control groups (" + groupRoot() + ")"}
	}
	defer os.Remove(dir)
	if _, err := os.Stat(limitFile(dir)); err != nil {
		return []string{"the memory controller of control groups"}
	}
	return nil
}

func groupRoot() string {
	const first = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(first); err != nil {
		return "/sys/fs/cgroup" // the newer kind
	}
	return first
}

func limitFile(dir string) string {
	file := filepath.Join(dir, "memory.limit_in_bytes")
	if _, err := os.Stat(file); err != nil {
		file = filepath.Join(dir, "memory.max")
	}
	return file
}

// Dir is the control group of node i, from 1.
func (g *Groups) Dir(i int) string {
	return filepath.Join(groupRoot(), fmt.Sprintf("simplab%d-%d", os.Getpid(), i))
}

// Within is the command that runs a program in that group.
func (g *Groups) Within(i int) []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(g.Dir(i), "cgroup.procs")}
}

// Make makes the groups. It returns what to tell nodes by their environment:
// what they would find out themselves in a group of the newer kind.
func (g *Groups) Make() (env []string, err error) {
	for i := range g.Nodes {
		dir := g.Dir(i + 1)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(limitFile(dir), []byte(fmt.Sprint(g.MiB<<20)), 0o644); err != nil {
			return nil, err
		}
	}
	return []string{fmt.Sprintf("GOMEMLIMIT=%dKiB", g.MiB<<10/10*9)}, nil
}

// Remove removes the groups; nothing may run in them any more.
func (g *Groups) Remove() {
	for i := range g.Nodes {
		_ = os.Remove(g.Dir(i + 1)) // it may not have been made
	}
}

// Survived fails if the kernel has killed in the group of node i.
func (g *Groups) Survived(i int) error {
	for _, name := range []string{"memory.oom_control", "memory.events"} {
		said, err := os.ReadFile(filepath.Join(g.Dir(i), name))
		if err == nil && strings.Contains(string(said), "oom_kill ") && !strings.Contains(string(said), "oom_kill 0\n") {
			return fmt.Errorf("the kernel has killed in the group of node %d: %s", i, said)
		}
	}
	return nil
}
