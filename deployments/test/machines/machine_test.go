// Package machines boots machines with a real systemd, and does on them what
// operators do: it types the handbook, and ends nodes in every way there is.
// The machines are containers of systemd-nspawn on a bridge of their own.
package machines

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What deployments/test/run has made for the tests.
const (
	treeVariable    = "MACHINE_TREE" // the Debian tree, which ./tree makes
	packageVariable = "PACKAGE"      // the Debian package of simpd
	sourcesVariable = "SOURCES"      // a clone of the sources, with the programs in bin
)

// longest bounds each wait.
const longest = 2 * time.Minute

// made returns what a variable names.
func made(t *testing.T, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set; deployments/test/run sets it", variable)
	}
	return value
}

// machine is one that runs.
type machine struct {
	*testing.T
	name   string
	leader string // the process id of its systemd, as seen from here
}

var booted atomic.Int32

// boot starts a machine that sees the files of shared, read-only, by the names
// that it maps to. It is in the network namespace, or has nothing but loopback.
// It is ended with the test, and what was written on it is gone then.
func boot(t *testing.T, name, namespace string, shared map[string]string) *machine {
	t.Helper()
	args := []string{"--boot", "--register=no", "--quiet", "--volatile=overlay", "--console=pipe",
		"--machine=" + name, "--hostname=" + name, "--directory=" + made(t, treeVariable)}
	if namespace == "" {
		args = append(args, "--private-network")
	} else {
		args = append(args, "--network-namespace-path=/run/netns/"+namespace)
	}
	for from, to := range shared {
		args = append(args, "--bind-ro="+from+":"+to)
	}
	group := fmt.Sprintf("simpd-test-%d-%d", os.Getpid(), booted.Add(1))
	cmd := nspawn(group, args)
	said := filepath.Join(t.TempDir(), "console")
	console, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	m := &machine{T: t, name: name}
	t.Cleanup(func() {
		m.halt(cmd.Process, ended)
		removeGroup(group)
	})
	m.await("it has booted", func() bool {
		select {
		case <-ended:
			b, _ := os.ReadFile(said)
			t.Fatalf("%s does not boot:\n%s", name, b)
		default:
		}
		return m.hasBooted(cmd.Process.Pid)
	})
	return m
}

// nspawn is the command that boots a machine. Where this machine is not run by
// systemd, which would make a control group for each, it makes one itself.
func nspawn(group string, args []string) *exec.Cmd {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		return exec.Command("systemd-nspawn", args...)
	}
	script := `for at in ` + hierarchies + `; do
	[ -w "$at/cgroup.procs" ] || continue
	mkdir -p "$at/$0" && echo $$ >"$at/$0/cgroup.procs"
done
exec systemd-nspawn --keep-unit "$@"`
	return exec.Command("bash", append([]string{"-c", script, group}, args...)...)
}

// hierarchies are where control groups of systemd's may be.
const hierarchies = "/sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup"

// removeGroup removes what nspawn has made.
func removeGroup(group string) {
	_ = exec.Command("bash", "-c", "for at in "+hierarchies+`; do find "$at/$0" -depth -type d -exec rmdir {} + 2>/dev/null; done`, group).Run()
}

// hasBooted looks for the machine's systemd, and asks it.
func (m *machine) hasBooted(nspawn int) bool {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", nspawn, nspawn))
	for _, child := range strings.Fields(string(children)) {
		m.leader = child
		state, _ := m.try("systemctl is-system-running")
		if s := strings.TrimSpace(state); s == "running" || s == "degraded" {
			return true
		}
	}
	return false
}

// halt ends the machine, its programs at once.
func (m *machine) halt(process *os.Process, ended <-chan struct{}) {
	if m.Failed() {
		said, _ := m.try("systemctl status simpd; journalctl --no-pager -n 40 -u simpd")
		m.Logf("%s:\n%s", m.name, said)
	}
	_ = process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		_ = process.Kill()
		<-ended
	}
}

// try has root run a script on the machine, and returns what it says.
func (m *machine) try(script string) (string, error) {
	return said(exec.Command("nsenter", "-t", m.leader, "-a", "--", "/bin/bash", "-euo", "pipefail", "-c", script))
}

// do has root run a script, which has to succeed.
func (m *machine) do(script string) string {
	m.Helper()
	said, err := m.try(script)
	if err != nil {
		m.Fatalf("%s: %s: %v\n%s", m.name, script, err, said)
	}
	return said
}

// asOperator has the machine's operator type a command at home.
func (m *machine) asOperator(command string) (string, error) {
	return said(exec.Command("nsenter", "-t", m.leader, "-a", "--", "su", "-l", "ops", "-c", command))
}

// said runs a command, ends it when it takes too long, and returns what it says.
func said(cmd *exec.Cmd) (string, error) {
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return "", err
	}
	overdue := time.AfterFunc(longest, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer overdue.Stop()
	err := cmd.Wait()
	return out.String(), err
}

// await waits until something is so.
func (m *machine) await(what string, is func() bool) {
	m.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(longest); !is(); <-tick.C {
		if time.Now().After(limit) {
			m.Fatalf("%s: not within %v: %s", m.name, longest, what)
		}
	}
}

// in is the machine as part of another test.
func (m *machine) in(t *testing.T) *machine {
	other := *m
	other.T = t
	return &other
}

// install puts the package on the machine.
func (m *machine) install() {
	m.Helper()
	m.do("dpkg -i /root/simpd.deb")
}

// pack is the package, as boot shares it.
func pack(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{made(t, packageVariable): "/root/simpd.deb"}
}
