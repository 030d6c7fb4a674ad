package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
)

// network is a small network of the laboratory's own: a namespace with a
// bridge, in which the laboratory itself runs, and one for each node, so that
// each has an address that can be cut off from others'. It needs root.
type network struct {
	name  string // of the namespaces, before a dash
	nodes int
}

const (
	inside     = "SIMPD_LAB_NETWORK" // set in the laboratory that runs inside
	hubAddress = "10.83.0.1"
	hubMask    = "/24"
)

// enterNetwork runs this program again in a namespace of its own, with a
// bridge in it, and returns when that has ended; within tells that this is it.
func enterNetwork() (n *network, code int, err error) {
	if name := os.Getenv(inside); name != "" {
		return &network{name: name}, 0, nil
	}
	name := fmt.Sprintf("simplab%d", os.Getpid())
	defer quietly("ip", "netns", "del", name)
	if err := run("ip", "netns", "add", name); err != nil {
		return nil, 1, err
	}
	for _, line := range []string{"link set lo up", "link add hub type bridge", "addr add " + hubAddress + hubMask + " dev hub", "link set hub up"} {
		if err := run("ip", append([]string{"-n", name}, strings.Fields(line)...)...); err != nil {
			return nil, 1, err
		}
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", name}, os.Args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"="+name)
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM) // the one inside ends by them, and then this one
	_ = cmd.Run()                                                         // it has said what was wrong
	return nil, cmd.ProcessState.ExitCode(), nil
}

// missing names what this machine lacks for a network.
func missing() []string {
	var all []string
	if os.Geteuid() != 0 {
		all = append(all, "root")
	}
	for _, program := range []string{"ip", "iptables", "strace", "mount", "mkfs.ext4"} {
		if _, err := exec.LookPath(program); err != nil {
			all = append(all, program)
		}
	}
	return all
}

func (n *network) host(i int) string { return fmt.Sprintf("10.83.0.%d", 10+i) }

func (n *network) space(i int) string { return fmt.Sprintf("%s-%d", n.name, i) }

func (n *network) within(i int) []string { return []string{"ip", "netns", "exec", n.space(i)} }

// open gives so many nodes a namespace each.
func (n *network) open(nodes int) error {
	for ; n.nodes < nodes; n.nodes++ {
		i := n.nodes + 1
		space, here := n.space(i), fmt.Sprintf("to%d", i)
		for _, line := range []string{
			"netns add " + space,
			"link add " + here + " type veth peer name eth0 netns " + space,
			"link set " + here + " master hub up",
			"-n " + space + " link set lo up",
			"-n " + space + " addr add " + n.host(i) + hubMask + " dev eth0",
			"-n " + space + " link set eth0 up",
		} {
			if err := run("ip", strings.Fields(line)...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *network) close() {
	for ; n.nodes > 0; n.nodes-- {
		quietly("ip", "link", "del", fmt.Sprintf("to%d", n.nodes)) // or its name stays taken for a while
		quietly("ip", "netns", "del", n.space(n.nodes))
	}
}

// drop has node i take nothing from node from; with more words of iptables,
// only some.
func (n *network) drop(i, from int, more ...string) error {
	return n.rule(i, append([]string{"-A", "INPUT", "-s", n.host(from)}, append(more, "-j", "DROP")...))
}

// undrop ends one drop. That heal has ended it already does not matter.
func (n *network) undrop(i, from int, more ...string) error {
	_ = n.rule(i, append([]string{"-D", "INPUT", "-s", n.host(from)}, append(more, "-j", "DROP")...))
	return nil
}

func (n *network) rule(i int, words []string) error {
	return run("ip", append(append(n.within(i)[1:], "iptables", "-w"), words...)...)
}

// heal ends all that drop has done to node i.
func (n *network) heal(i int) error { return n.rule(i, []string{"-F", "INPUT"}) }

func run(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func quietly(name string, args ...string) { _ = run(name, args...) }
