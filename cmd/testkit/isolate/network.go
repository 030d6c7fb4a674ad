// Package isolate gives each node of a laboratory's site a network of its own
// and a limit of memory. It needs Linux and root.
package isolate

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// Network is a small network of a laboratory's own: a namespace with a bridge,
// in which the laboratory itself runs, and one for each node, so that each has
// an address that can be cut off from others'.
type Network struct {
	name  string // of the namespaces, before a dash
	entry Entry
	nodes int
}

// Entry is the command that runs a program in a namespace.
type Entry func(space string) []string

// ByIP gives the program a view of /sys and of mounts of its own, too.
func ByIP(space string) []string { return []string{"ip", "netns", "exec", space} }

// ByNsenter changes nothing else, so that control groups stay in sight.
func ByNsenter(space string) []string { return []string{"nsenter", "--net=/run/netns/" + space} }

const (
	inside     = "SIMPD_LAB_NETWORK" // set in the laboratory that runs inside
	hubAddress = "10.83.0.1"
	hubMask    = "/24"
	hubSix     = "fd83::1"
	sixMask    = "/64"
)

// Enter runs this program again in a namespace of its own, with a bridge in
// it, and returns when that has ended, with its exit code and no network. The
// one that runs inside gets the network.
func Enter(entry Entry) (n *Network, code int, err error) {
	if name := os.Getenv(inside); name != "" {
		return &Network{name: name, entry: entry}, 0, nil
	}
	name := fmt.Sprintf("simplab%d", os.Getpid())
	defer Quietly("ip", "netns", "del", name)
	if err := Run("ip", "netns", "add", name); err != nil {
		return nil, 1, err
	}
	for _, line := range []string{"link set lo up", "link add hub type bridge", "addr add " + hubAddress + hubMask + " dev hub", "link set hub up"} {
		if err := Run("ip", append([]string{"-n", name}, strings.Fields(line)...)...); err != nil {
			return nil, 1, err
		}
	}
	line := append(entry(name), os.Args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+name)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM) // the one inside ends by them, and then this one
	_ = cmd.Run()                                                         // it has said what was wrong
	return nil, cmd.ProcessState.ExitCode(), nil
}

// Missing names what this machine lacks: root, and of the programs those that
// are not installed.
func Missing(programs ...string) []string {
	var all []string
	if os.Geteuid() != 0 {
		all = append(all, "root")
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			all = append(all, program)
		}
	}
	return all
}

// Host returns the address of node i, from 1.
func (n *Network) Host(i int) string { return fmt.Sprintf("10.83.0.%d", 10+i) }

// HostSix returns its IPv6 address, which OpenOutside gives it.
func (n *Network) HostSix(i int) string { return fmt.Sprintf("fd83::%d", 10+i) }

// Hub returns the address of the laboratory itself.
func (n *Network) Hub() string { return hubAddress }

func (n *Network) space(i int) string { return fmt.Sprintf("%s-%d", n.name, i) }

// Within returns the command that runs a program where node i is.
func (n *Network) Within(i int) []string { return n.entry(n.space(i)) }

// Open gives so many nodes a namespace each.
func (n *Network) Open(nodes int) error {
	for ; n.nodes < nodes; n.nodes++ {
		i := n.nodes + 1
		space, here := n.space(i), fmt.Sprintf("to%d", i)
		err := runAll(
			"netns add "+space,
			"link add "+here+" type veth peer name eth0 netns "+space,
			"link set "+here+" master hub up",
			"-n "+space+" link set lo up",
			"-n "+space+" addr add "+n.Host(i)+hubMask+" dev eth0",
			"-n "+space+" link set eth0 up",
		)
		if err != nil {
			return err
		}
	}
	return nil
}

// OpenOutside lets the laboratory call the nodes, which are open, from every
// address of these networks, of IPv4 or IPv6, as if it were many machines.
func (n *Network) OpenOutside(networks ...string) error {
	if err := runAll("addr add " + hubSix + sixMask + " dev hub nodad"); err != nil {
		return err
	}
	for i := 1; i <= n.nodes; i++ {
		at := "-n " + n.space(i)
		err := runAll(
			at+" addr add "+n.HostSix(i)+sixMask+" dev eth0 nodad",
			at+" route add default via "+hubAddress,
			at+" -6 route add default via "+hubSix,
		)
		if err != nil {
			return err
		}
	}
	for _, network := range networks {
		if err := runAll("route add local " + network + " dev lo"); err != nil {
			return err
		}
	}
	return nil
}

// Close ends what Open has made.
func (n *Network) Close() {
	for ; n.nodes > 0; n.nodes-- {
		Quietly("ip", "link", "del", fmt.Sprintf("to%d", n.nodes)) // or its name stays taken for a while
		Quietly("ip", "netns", "del", n.space(n.nodes))
	}
}

func runAll(lines ...string) error {
	for _, line := range lines {
		if err := Run("ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	return nil
}

// Run runs a program of the system to its end. The error has what it said.
func Run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Quietly runs a program whose failure does not matter.
func Quietly(name string, args ...string) { _ = Run(name, args...) }
