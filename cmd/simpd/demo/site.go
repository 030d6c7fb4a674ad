package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	domain   = "example.com"
	password = "correct horse battery staple"
)

// site is the three nodes of the demo and what belongs to them.
type site struct {
	programs
	dir       string
	ca        string // what clients trust
	cert, key string // what they are shown
	nodes     []*siteNode
}

// siteNode is one node: where it is, and its process.
type siteNode struct {
	id                                       string
	simp, simps, grpc, cluster, gossip, http string
	*program
}

// newSite makes keys and chooses addresses; nothing runs yet.
func newSite(bin string, nodes int) (*site, error) {
	dir, err := os.MkdirTemp("", "simpd-demo-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, programs: programs{bin: bin, env: []string{"SIMP_PASSWORD=" + password}}}
	if s.cert, s.key, err = makeCertificate(dir, domain); err != nil {
		return s, err
	}
	s.ca = s.cert
	for i := range nodes {
		n := &siteNode{id: fmt.Sprintf("n%d", i+1)}
		freeAddresses(&n.simp, &n.simps, &n.grpc, &n.cluster, &n.gossip, &n.http)
		s.nodes = append(s.nodes, n)
	}
	return s, s.makeKeys()
}

// freeAddresses finds addresses that nobody uses, each another one. They are
// below the ports that the system itself gives away.
func freeAddresses(to ...*string) {
	for _, a := range to {
		for *a == "" {
			address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(20_000)))
			if free(address) {
				*a = address
			}
		}
	}
}

func free(address string) bool {
	tcp, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}

func (s *site) keys(name string) string { return filepath.Join(s.dir, "keys", name) }

// makeKeys has simpctl make what secures the nodes and what an operator shows.
func (s *site) makeKeys() error {
	args := []string{"tls", "init", "--dir", filepath.Join(s.dir, "keys"), "--site", domain}
	for _, n := range s.nodes {
		args = append(args, "--node", n.id)
	}
	return s.succeed("", "simpctl", args...)
}

// succeed runs a program that has to exit 0.
func (s *site) succeed(stdin, name string, args ...string) error {
	code, said, err := s.run(stdin, name, args...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s %s: exit code %d: %s", name, strings.Join(args, " "), code, said)
	}
	return nil
}

// begin starts a node, alone or to be joined by the others.
func (s *site) begin(n *siteNode) error {
	args := []string{
		"serve", "--node-id", n.id, "--data-dir", filepath.Join(s.dir, n.id), "--domain", domain,
		"--simp-listen", n.simp, "--simps-listen", n.simps, "--grpc-listen", n.grpc, "--cluster-listen", n.cluster,
		"--gossip-listen", n.gossip, "--http-listen", n.http, "--tls-cert", s.cert, "--tls-key", s.key,
		"--cluster-ca", s.keys("ca.crt"), "--cluster-cert", s.keys("node-" + n.id + ".crt"), "--cluster-key", s.keys("node-" + n.id + ".key"),
		"--gossip-key-file", s.keys("gossip.key"), "--bootstrap-expect", fmt.Sprint(len(s.nodes)),
	}
	for _, other := range s.nodes {
		if other != n {
			args = append(args, "--join", other.gossip)
		}
	}
	var err error
	n.program, err = s.start("simpd", args...)
	return err
}

// beginAll starts all nodes and waits until each takes clients.
func (s *site) beginAll() error {
	for _, n := range s.nodes {
		if err := s.begin(n); err != nil {
			return err
		}
	}
	for _, n := range s.nodes {
		if err := n.ready(); err != nil {
			return fmt.Errorf("%w\n%s", err, s.said())
		}
	}
	return nil
}

// said is what all nodes have said.
func (s *site) said() string {
	var all strings.Builder
	for _, n := range s.nodes {
		fmt.Fprintf(&all, "--- %s\n%s", n.id, n.out.all())
	}
	return all.String()
}

// simpctl runs the operator's client at a node.
func (s *site) simpctl(n *siteNode, stdin string, args ...string) (code int, said string, err error) {
	return s.run(stdin, "simpctl", append(s.operator(n), args...)...)
}

func (s *site) operator(n *siteNode) []string {
	return []string{"--addr", n.grpc, "--tls-ca", s.keys("ca.crt"), "--tls-cert", s.keys("service-operator.crt"), "--tls-key", s.keys("service-operator.key")}
}

// person is the flags with which simp speaks as a user at a node.
func (s *site) person(n *siteNode, user string) []string {
	return []string{"--server", n.simp, "--user", user + "@" + domain, "--tls-ca", s.ca}
}

// close ends all processes and removes all files.
func (s *site) close() error {
	s.end()
	return os.RemoveAll(s.dir)
}

// ready waits until the node says on /readyz that it takes clients.
func (n *siteNode) ready() error {
	limit := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	why := "it does not answer"
	for {
		if answer, err := http.Get("http://" + n.http + "/readyz"); err == nil {
			said, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			why = strings.TrimSpace(string(said))
		}
		select {
		case <-again.C:
		case <-n.done:
			return fmt.Errorf("node %s has ended", n.id)
		case <-limit:
			return fmt.Errorf("node %s does not become ready: %s", n.id, why)
		}
	}
}
