package machines

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// network is a bridge in a namespace of its own, to which machines are joined.
type network struct {
	*testing.T
	prefix string // of the names of its namespaces
}

func newNetwork(t *testing.T) *network {
	n := &network{T: t, prefix: fmt.Sprintf("simpd-test-%d-", os.Getpid())}
	n.add("bridge")
	n.ip("-n", n.prefix+"bridge", "link", "add", "br0", "type", "bridge")
	n.ip("-n", n.prefix+"bridge", "link", "set", "br0", "up")
	return n
}

// join makes the namespace of a machine, which has the address 10.0.0.number
// there, and returns its name.
func (n *network) join(name string, number int) string {
	n.Helper()
	own := n.prefix + name
	n.add(name)
	n.ip("-n", n.prefix+"bridge", "link", "add", name, "type", "veth", "peer", "name", "host0", "netns", own)
	n.ip("-n", n.prefix+"bridge", "link", "set", name, "master", "br0", "up")
	n.ip("-n", own, "address", "add", fmt.Sprintf("10.0.0.%d/24", number), "dev", "host0")
	n.ip("-n", own, "link", "set", "host0", "up")
	n.ip("-n", own, "link", "set", "lo", "up")
	return own
}

// add makes a namespace, which is removed with the test.
func (n *network) add(name string) {
	n.Helper()
	n.ip("netns", "add", n.prefix+name)
	n.Cleanup(func() { n.ip("netns", "delete", n.prefix+name) })
}

func (n *network) ip(args ...string) {
	n.Helper()
	if out, err := said(exec.Command("ip", args...)); err != nil {
		n.Errorf("ip %v: %v\n%s", args, err, out)
	}
}
