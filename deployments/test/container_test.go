package deploy

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds each wait for something that happens by itself.
const patience = 60 * time.Second

// Two networks: the host's own, where containers are, and one outside, from
// which only the host is reached.
const (
	inside       = "10.88.0."
	insideHost   = inside + "1"
	outsideHost  = "192.0.2.1"
	outsideGuest = "192.0.2.2"
)

// machine is a host of containers, made of namespaces: it wants root, and a
// network, a mount and a process namespace of its own.
type machine struct {
	*testing.T
	dir   string
	image string // the root file system of the image
	names map[string][]string
	env   []string
}

// newMachine makes the networks. No two machines are at a time.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{T: t, dir: t.TempDir(), image: wantEnv(t, "IMAGE"), names: map[string][]string{}}
	m.env = append(os.Environ(), "PATH="+wantEnv(t, "BIN")+":"+os.Getenv("PATH"))
	m.sh(`ip link set lo up
mkdir -p /run/netns && mount -t tmpfs none /run/netns
ip link add inner0 type bridge && ip addr add ` + insideHost + `/24 dev inner0 && ip link set inner0 up
ip netns add outside && ip link add outer0 type veth peer name eth0 netns outside
ip addr add ` + outsideHost + `/24 dev outer0 && ip link set outer0 up
ip netns exec outside ip addr add ` + outsideGuest + `/24 dev eth0 && ip netns exec outside ip link set eth0 up`)
	t.Cleanup(func() { m.sh(`ip link del inner0; ip link del outer0; ip -all netns delete; umount /run/netns`) })
	return m
}

func wantEnv(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set; deployments/test/run sets it", name)
	}
	return v
}

// sh runs a script in the machine's folder and returns what it says.
func (m *machine) sh(script string) string {
	m.Helper()
	out, err := m.try(script)
	if err != nil {
		m.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

func (m *machine) try(script string) (string, error) {
	cmd := exec.Command("bash", "-c", "set -e\n"+script)
	cmd.Dir, cmd.Env = m.dir, m.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// eventually repeats a script until it ends with success.
func (m *machine) eventually(script string) string {
	m.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out, err := m.try(script)
		if err == nil {
			return out
		}
		if time.Now().After(end) {
			m.Fatalf("%s\n%v\n%s", script, err, out)
		}
	}
}

// container is one that runs the image's program.
type container struct {
	m      *machine
	name   string
	addr   string
	env    []string
	mounts map[string]string // folders of the machine, by where they are in the container
	cmd    *exec.Cmd
	log    string
	ended  chan struct{}
}

// container makes the number-th one: its root file system, which is read only,
// and its network.
func (m *machine) container(number int, name string, env []string, mounts map[string]string) *container {
	m.Helper()
	c := &container{m: m, name: name, addr: fmt.Sprint(inside, 10+number), env: env, mounts: mounts, log: filepath.Join(m.dir, name+".log")}
	m.names[c.addr] = append(m.names[c.addr], name)
	m.sh(`ip netns add ` + name + ` && ip link add veth` + fmt.Sprint(number) + ` master inner0 type veth peer name eth0 netns ` + name + `
ip link set veth` + fmt.Sprint(number) + ` up
ip netns exec ` + name + ` sh -c 'ip link set lo up; ip addr add ` + c.addr + `/24 dev eth0; ip link set eth0 up'
mkdir -p root && cp -al ` + m.image + ` root/` + name + ` && touch hosts
mkdir -p root/` + name + `/etc root/` + name + `/tmp && touch root/` + name + `/etc/hosts
cd root/` + name + ` && for at in ` + strings.Join(c.targets(), " ") + `; do mkdir -p .$at; done
mount --bind . . && mount -o remount,ro,bind . .`)
	root := filepath.Join(m.dir, "root", name)
	m.sh("mount --bind hosts " + root + "/etc/hosts")
	for at, from := range mounts {
		m.sh("mount --bind " + from + " " + root + at)
	}
	m.Cleanup(func() {
		c.kill()
		m.sh("umount -R " + root)
		if m.Failed() {
			said, _ := os.ReadFile(c.log)
			m.Logf("%s:\n%s", name, said)
		}
	})
	return c
}

func (c *container) targets() (all []string) {
	for at := range c.mounts {
		all = append(all, at)
	}
	return all
}

// writeHosts has every container find the others by name.
func (m *machine) writeHosts() {
	m.Helper()
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n")
	for addr, names := range m.names {
		for _, name := range names {
			fmt.Fprintln(&b, addr, name)
		}
	}
	if err := os.WriteFile(filepath.Join(m.dir, "hosts"), []byte(b.String()), 0o644); err != nil {
		m.Fatal(err)
	}
}

// start runs the image's entry point as the image's user.
func (c *container) start() {
	c.m.Helper()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.m.Fatal(err)
	}
	defer log.Close()
	c.cmd = exec.Command("ip", "netns", "exec", c.name, "chroot", "--userspec=65532:65532", "--groups=65532", filepath.Join(c.m.dir, "root", c.name), "/simpd", "serve")
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = append(c.env, "PATH="+os.Getenv("PATH")), log, log
	if err := c.cmd.Start(); err != nil {
		c.m.Fatal(err)
	}
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait()
	}()
}

// stop is what an engine does: SIGTERM, and time to drain. The program ends with 0.
func (c *container) stop() {
	c.m.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.m.Fatalf("%s does not stop", c.name)
	}
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.m.Errorf("%s ended with %d", c.name, code)
	}
}

func (c *container) kill() {
	if c.cmd != nil && c.ended != nil {
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// awaitReady waits until the container is ready for clients.
func (c *container) awaitReady() {
	c.m.Helper()
	c.m.eventually("curl -fsS http://" + c.addr + ":7480/readyz")
}

// publish passes connections to an address of the machine on to what choose
// names; empty: they are refused. It ends with the test.
func (m *machine) publish(at string, choose func() string) {
	m.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		m.Fatal(err)
	}
	var open sync.WaitGroup
	m.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				open.Wait()
				return
			}
			open.Go(func() { pass(in, choose()) })
		}
	}()
}

func pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(in, out)
}
