package main

import (
	"fmt"

	"simpd/cmd/testkit/isolate"
	"simpd/cmd/testkit/site"
)

// network is the laboratory's network, in which nodes are cut off from others.
type network struct{ *isolate.Network }

// missing names what this machine lacks for a network and for disks.
func missing() []string { return isolate.Missing("ip", "iptables", "strace", "mount", "mkfs.ext4") }

// drop has node i take nothing from node from; with more words of iptables,
// only some.
func (n *network) drop(i, from int, more ...string) error {
	return n.rule(i, append([]string{"-A", "INPUT", "-s", n.Host(from)}, append(more, "-j", "DROP")...))
}

// undrop ends one drop. That heal has ended it already does not matter.
func (n *network) undrop(i, from int, more ...string) error {
	_ = n.rule(i, append([]string{"-D", "INPUT", "-s", n.Host(from)}, append(more, "-j", "DROP")...))
	return nil
}

func (n *network) rule(i int, words []string) error {
	return isolate.Run("ip", append(append(n.Within(i)[1:], "iptables", "-w"), words...)...)
}

// heal ends all that drop has done to node i.
func (n *network) heal(i int) error { return n.rule(i, []string{"-F", "INPUT"}) }

// survives fails if the kernel or the node itself has ended it.
func (l *lab) survives(n *site.Node) error {
	if ended(n) {
		return fmt.Errorf("%s has ended: %s", n.ID, lastLine(n.Said()))
	}
	return l.groups.Survived(n.Number)
}
