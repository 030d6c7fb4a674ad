package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simpd/cluster/link/pki"
	"simpd/cmd/testkit/site"
)

const testPassword = "correct horse"

// testNode is a simpd serve that a test has started.
type testNode struct {
	*process
	id  string
	dir string
}

// address is where a listener was opened, as the node itself says.
func (n *testNode) address(option string) string {
	n.t.Helper()
	line := n.await(n.err, "option="+option+" ")
	_, address, ok := strings.Cut(line, "address=")
	if !ok {
		n.t.Fatalf("no address in %q", line)
	}
	return address
}

// insecureArgs are those of a node alone, on free ports, without TLS.
func insecureArgs(dir string) []string {
	return append(append(anyPorts(), unlimited...), "--insecure", "--node-id=n1", "--data-dir="+dir, "--domain=example.com", "--bootstrap-expect=1", "--gossip-listen="+site.FreeAddress())
}

func anyPorts() []string {
	var args []string
	for _, o := range []string{"simp-listen", "grpc-listen", "cluster-listen", "http-listen"} {
		args = append(args, "--"+o+"=127.0.0.1:0")
	}
	return args
}

// serveInsecure starts a node alone and waits until it is ready.
func serveInsecure(t *testing.T, dir string, more ...string) *testNode {
	t.Helper()
	n := &testNode{start(t, "simpd", append(append([]string{"serve"}, insecureArgs(dir)...), more...)...), "n1", dir}
	n.await(n.err, "msg=ready")
	return n
}

// get asks the node's HTTP listener.
func (n *testNode) get(path string) (status int, body string) {
	n.t.Helper()
	return n.getAs(n.address("http-listen"), "http-listen", path)
}

// getAs asks one of the node's listeners for HTTP under any Host.
func (n *testNode) getAs(host, option, path string) (status int, body string) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address(option)+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	r.Host = host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return answer.StatusCode, string(b)
}

// runTo runs a program to its end, which has to come, and returns its exit code
// and all that it said.
func runTo(t *testing.T, stdin, program string, args ...string) (code int, said string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if os.Getenv("SIMP_PASSWORD") == "" {
		cmd.Env = append(os.Environ(), "SIMP_PASSWORD="+testPassword)
	}
	said, err := site.Output(cmd, patience)
	if cmd.ProcessState == nil || errors.Is(err, site.ErrLate) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said
}

// succeed is for programs that have to exit 0.
func succeed(t *testing.T, stdin, program string, args ...string) string {
	t.Helper()
	code, said := runTo(t, stdin, program, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit code %d: %s", program, strings.Join(args, " "), code, said)
	}
	return said
}

// operate runs simpctl at a node without TLS.
func (n *testNode) operate(stdin string, args ...string) string {
	n.t.Helper()
	return succeed(n.t, stdin, "simpctl", append([]string{"--insecure", "--addr", n.address("grpc-listen")}, args...)...)
}

// addUsers makes users with the test's password.
func (n *testNode) addUsers(users ...string) {
	n.t.Helper()
	var file strings.Builder
	for _, u := range users {
		fmt.Fprintf(&file, "%s@example.com,%s\n", u, testPassword)
	}
	n.operate(file.String(), "account", "import", "-")
}

// makeKeys makes what secures a site of these nodes.
func makeKeys(t *testing.T, nodes ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	remakeKeys(t, dir, nodes...)
	return dir
}

// remakeKeys makes what is missing of them.
func remakeKeys(t *testing.T, dir string, nodes ...string) {
	t.Helper()
	o := pki.Order{Dir: dir, Site: "example.com", Services: []pki.ServiceOrder{{Name: "operator", Roles: pki.AllRoles()}}}
	for _, n := range nodes {
		// The node's own certificate serves for clients too: it names the domain.
		o.Nodes = append(o.Nodes, pki.NodeOrder{ID: n, Hosts: []string{"example.com"}})
	}
	if _, err := pki.Make(o); err != nil {
		t.Fatal(err)
	}
}

// unlimited are the flags that lift the limits of each user.
var unlimited = strings.Split("--limit="+strings.ReplaceAll(strings.TrimPrefix(site.Unlimited, "SIMPD_LIMIT="), ",", ",--limit="), ",")

// secureArgs are those of a node of a site with TLS everywhere.
func secureArgs(dir, keys, id string, expect int) []string {
	cert, key := filepath.Join(keys, "node-"+id+".crt"), filepath.Join(keys, "node-"+id+".key")
	return append(append(anyPorts(), unlimited...), "--node-id="+id, "--data-dir="+filepath.Join(dir, id), "--domain=example.com", "--simps-listen=127.0.0.1:0",
		"--bootstrap-expect="+fmt.Sprint(expect), "--tls-cert="+cert, "--tls-key="+key,
		"--cluster-ca="+filepath.Join(keys, "ca.crt"), "--cluster-cert="+cert, "--cluster-key="+key, "--gossip-key-file="+filepath.Join(keys, "gossip.key"))
}

// eventually waits until f is so, looking again and again.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	limit, again := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer again.Stop()
	for !f() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("not so in %v: %s", patience, what)
		}
	}
}

// startSite starts a node for each id, with TLS everywhere, and waits until
// all are ready.
func startSite(t *testing.T, dir, keys string, ids ...string) []*testNode {
	t.Helper()
	gossip := make([]string, len(ids))
	for i := range ids {
		gossip[i] = site.FreeAddress()
	}
	nodes := make([]*testNode, len(ids))
	for i, id := range ids {
		args := append([]string{"serve", "--gossip-listen=" + gossip[i]}, secureArgs(dir, keys, id, len(ids))...)
		for j := range ids {
			if j != i {
				args = append(args, "--join="+gossip[j])
			}
		}
		nodes[i] = &testNode{process: start(t, "simpd", args...), id: id, dir: filepath.Join(dir, id)}
	}
	for _, n := range nodes {
		n.await(n.err, "msg=ready")
	}
	return nodes
}

// operator is how simpctl proves itself at a node with TLS.
func (n *testNode) operator(keys string, args ...string) []string {
	return append([]string{
		"--addr", n.address("grpc-listen"), "--tls-ca", filepath.Join(keys, "ca.crt"),
		"--tls-cert", filepath.Join(keys, "service-operator.crt"), "--tls-key", filepath.Join(keys, "service-operator.key"),
	}, args...)
}

func (n *testNode) addSecureUsers(keys string, users ...string) {
	n.t.Helper()
	var file strings.Builder
	for _, u := range users {
		fmt.Fprintf(&file, "%s@example.com,%s\n", u, testPassword)
	}
	succeed(n.t, file.String(), "simpctl", n.operator(keys, "account", "import", "-")...)
}

func (n *testNode) personArgs(keys, user string, args ...string) []string {
	return append([]string{"--server", n.address("simp-listen"), "--user", user + "@example.com", "--tls-ca", filepath.Join(keys, "ca.crt")}, args...)
}

// person runs simp as a user at a node with TLS.
func (n *testNode) person(keys, user string, args ...string) (code int, said string) {
	n.t.Helper()
	return runTo(n.t, "", "simp", n.personArgs(keys, user, args...)...)
}

// listens starts simp listen and waits until the user listens.
func (n *testNode) listens(keys, user string) *process {
	n.t.Helper()
	n.t.Setenv("SIMP_PASSWORD", testPassword)
	p := start(n.t, "simp", n.personArgs(keys, user, "listen")...)
	eventually(n.t, user+" listens", func() bool {
		code, said := n.person(keys, user, "query", "--fresh", user+"@example.com")
		return code == 0 && strings.Contains(said, "available")
	})
	return p
}

// dialSecure connects to the node as any client of the site does, with TLS
// from the first octet.
func (n *testNode) dialSecure(keys string) (*tls.Conn, error) {
	n.t.Helper()
	pem, err := os.ReadFile(filepath.Join(keys, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	d := &net.Dialer{Timeout: patience}
	return tls.DialWithDialer(d, "tcp", n.address("simps-listen"), &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"simp"}})
}

// shownSerial is the number of the certificate that clients are shown.
func (n *testNode) shownSerial(keys string) string {
	n.t.Helper()
	conn, err := n.dialSecure(keys)
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}
