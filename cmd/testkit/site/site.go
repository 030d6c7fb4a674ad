// Package site starts the real programs as a whole site on this machine, with
// TLS everywhere unless told otherwise, and ends what it has started. The
// demo and the fault laboratory stand on it.
package site

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Patience bounds every wait for something that has to happen.
const Patience = 60 * time.Second

// Config says what site is wanted. Bin, Dir and Nodes are needed.
type Config struct {
	Bin      string // the folder of the programs
	Dir      string // where keys, data and logs go; it must exist
	Nodes    int    // that form the site: 1, 2, 3 or 5
	Domain   string // empty: example.com
	Password string // of everybody
	Insecure bool   // no TLS at all
	Web      bool   // nodes listen for WebSockets too, and serve the web chat
	Flags    []string
	// Host is the address that node number i, from 1, listens at. Nil: all at 127.0.0.1.
	Host func(i int) string
	// Within is a command that runs a program where node number i is, in
	// front of the program and its flags. Nil: none.
	Within func(i int) []string
}

// Site is the nodes and what belongs to them.
type Site struct {
	Config
	Programs
	CA        string // what clients trust; empty without TLS
	cert, key string // what they are shown
	Nodes     []*Node
}

// Node is one node: where it is, and its process once it was begun.
type Node struct {
	ID, Dir                                  string
	SIMP, SIMPS, GRPC, Cluster, Gossip, HTTP string
	WS                                       string // if Config.Web
	*Program
	Number int
	Bin    string // where its simpd is, if not with the others
	site   *Site
}

// New makes keys and chooses addresses; nothing runs yet. Close has to be
// called also after an error.
func New(c Config) (*Site, error) {
	c.Domain = cmp.Or(c.Domain, "example.com")
	s := &Site{Config: c, Programs: Programs{Bin: c.Bin, Env: []string{
		"SIMP_PASSWORD=" + c.Password, // Not those of whoever runs this.
		"XDG_CONFIG_HOME=" + filepath.Join(c.Dir, "config"), "XDG_DATA_HOME=" + filepath.Join(c.Dir, "data"), "XDG_CACHE_HOME=" + filepath.Join(c.Dir, "cache"),
	}}}
	for i := range c.Nodes {
		s.AddNode(i + 1)
	}
	if c.Insecure {
		return s, nil
	}
	var err error
	if s.cert, s.key, err = makeCertificate(c.Dir, c.Domain); err != nil {
		return s, err
	}
	s.CA = s.cert
	return s, s.MakeKeys()
}

// Unlimited is the variable that lifts simpd's limits of each user, for clients
// that do more than any user would. Older versions, which have no limits, ignore
// it.
const Unlimited = "SIMPD_LIMIT=changes=off,commands=off,messages=off,messages-by-source=off,messages-by-domain=off,messages-by-program=off," +
	"first-contacts=off,first-contacts-local=off,first-contacts-by-source=off,first-contacts-by-domain=off,first-contacts-by-program=off," +
	"watches=off,watches-by-source=off,watches-by-domain=off,logins=off,logins-by-source=off,logins-by-domain=off"

// AddNode adds a node, which does not run yet, as number i. The keys of one
// that is added to a site with keys have to be made (MakeKeys).
func (s *Site) AddNode(i int) *Node {
	n := &Node{ID: fmt.Sprintf("n%d", i), Number: i, site: s}
	n.Dir = filepath.Join(s.Dir, n.ID)
	n.takeAddresses(s.host(i))
	s.Nodes = append(s.Nodes, n)
	return n
}

func (s *Site) host(i int) string {
	if s.Host == nil {
		return "127.0.0.1"
	}
	return s.Host(i)
}

// takeAddresses chooses where the node listens: at a host of its own at ports
// 20001 to 20007; at 127.0.0.1 where nobody else does.
func (n *Node) takeAddresses(host string) {
	for i, a := range []*string{&n.SIMP, &n.SIMPS, &n.GRPC, &n.Cluster, &n.Gossip, &n.HTTP, &n.WS} {
		*a = net.JoinHostPort(host, strconv.Itoa(20_001+i))
		if host == "127.0.0.1" {
			*a = FreeAddress()
		}
	}
}

// Key names a file of what secures the nodes.
func (s *Site) Key(name string) string { return filepath.Join(s.Dir, "keys", name) }

// MakeKeys has simpctl make what is missing of what secures the nodes, and of
// what an operator shows.
func (s *Site) MakeKeys() error {
	args := []string{"tls", "init", "--dir", filepath.Join(s.Dir, "keys"), "--site", s.Domain}
	for _, n := range s.Nodes {
		args = append(args, "--node", n.ID)
	}
	return s.Succeed("", "simpctl", args...)
}

// RenewKeys makes a node's certificate and key anew; what was there is lost.
func (s *Site) RenewKeys(n *Node) error {
	for _, end := range []string{".crt", ".key"} {
		if err := os.Remove(s.Key("node-" + n.ID + end)); err != nil {
			return err
		}
	}
	return s.MakeKeys()
}

// Succeed runs a program that has to exit 0.
func (s *Site) Succeed(stdin, name string, args ...string) error {
	code, said, err := s.Run(stdin, name, args...)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("%s %s: exit code %d: %s", name, strings.Join(args, " "), code, said)
	}
	return nil
}

// Begin starts the node, alone or to be joined by the others.
func (n *Node) Begin() error {
	args := append([]string{"serve"}, n.flags()...)
	var within []string
	if n.site.Within != nil {
		within = n.site.Within(n.Number)
	}
	program := "simpd"
	if n.Bin != "" {
		program = filepath.Join(n.Bin, program)
	}
	var err error
	n.Program, err = n.site.start(filepath.Join(n.site.Dir, n.ID+".log"), within, program, args...)
	return err
}

// flags are those of serve.
func (n *Node) flags() []string {
	s := n.site
	args := append([]string{
		"--node-id", n.ID, "--data-dir", n.Dir, "--domain", s.Domain, "--simp-listen", n.SIMP, "--grpc-listen", n.GRPC,
		"--cluster-listen", n.Cluster, "--gossip-listen", n.Gossip, "--http-listen", n.HTTP, "--bootstrap-expect", fmt.Sprint(s.Config.Nodes),
	}, s.Flags...)
	for _, other := range s.Nodes {
		if other != n {
			args = append(args, "--join", other.Gossip)
		}
	}
	if s.Web {
		args = append(args, "--ws-listen", n.WS)
	}
	if s.Insecure {
		return append(args, "--insecure")
	}
	return append(args, "--simps-listen", n.SIMPS, "--tls-cert", s.cert, "--tls-key", s.key, "--cluster-ca", s.Key("ca.crt"),
		"--cluster-cert", s.Key("node-"+n.ID+".crt"), "--cluster-key", s.Key("node-"+n.ID+".key"), "--gossip-key-file", s.Key("gossip.key"))
}

// BeginAll starts all nodes and waits until each takes clients.
func (s *Site) BeginAll() error {
	for _, n := range s.Nodes {
		if err := n.Begin(); err != nil {
			return err
		}
	}
	for _, n := range s.Nodes {
		if err := n.Ready(Patience); err != nil {
			return fmt.Errorf("%w\n%s", err, s.Said())
		}
	}
	return nil
}

// Said returns what all nodes have printed since they were last started.
func (s *Site) Said() string {
	var all strings.Builder
	for _, n := range s.Nodes {
		if n.Program != nil {
			fmt.Fprintf(&all, "--- %s\n%s", n.ID, n.Program.Said())
		}
	}
	return all.String()
}

// AddUsers makes accounts at a node, or gives them the password again.
func (s *Site) AddUsers(at *Node, users ...string) error {
	var file strings.Builder
	for _, u := range users {
		fmt.Fprintf(&file, "%s@%s,%s\n", u, s.Domain, s.Password)
	}
	return s.Succeed(file.String(), "simpctl", append(s.Operator(at), "account", "import", "-")...)
}

// Simpctl runs the operator's client at a node.
func (s *Site) Simpctl(n *Node, args ...string) (code int, said string, err error) {
	return s.Run("", "simpctl", append(s.Operator(n), args...)...)
}

// Operator is the flags with which simpctl speaks to a node.
func (s *Site) Operator(n *Node) []string {
	if s.Insecure {
		return []string{"--addr", n.GRPC, "--insecure"}
	}
	return []string{"--addr", n.GRPC, "--tls-ca", s.Key("ca.crt"), "--tls-cert", s.Key("service-operator.crt"), "--tls-key", s.Key("service-operator.key")}
}

// Person is the flags with which simp speaks as a user at a node.
func (s *Site) Person(n *Node, user string) []string {
	args := []string{"--server", n.SIMP, "--user", user + "@" + s.Domain}
	if s.Insecure {
		return append(args, "--plaintext")
	}
	return append(args, "--tls-ca", s.CA)
}

// Close ends all processes and removes all files.
func (s *Site) Close() error {
	s.End()
	return os.RemoveAll(s.Dir)
}

// ErrEnded says that a node's process has ended.
var ErrEnded = errors.New("the node has ended")

// Ready waits until the node says on /readyz that it takes clients.
func (n *Node) Ready(patience time.Duration) error {
	limit := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	why := "it does not answer"
	for {
		if ok, said := n.isReady(); ok {
			return nil
		} else if said != "" {
			why = said
		}
		select {
		case <-again.C:
		case <-n.Done():
			return fmt.Errorf("%s: %w", n.ID, ErrEnded)
		case <-limit:
			return fmt.Errorf("node %s does not become ready: %s", n.ID, why)
		}
	}
}

func (n *Node) isReady() (ok bool, said string) {
	c := http.Client{Timeout: 2 * time.Second}
	defer c.CloseIdleConnections()
	answer, err := c.Get("http://" + n.HTTP + "/readyz")
	if err != nil {
		return false, ""
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode == http.StatusOK, strings.TrimSpace(string(b))
}
