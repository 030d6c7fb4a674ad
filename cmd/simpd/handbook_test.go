package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"simpd/cmd/testkit/site"
)

const handbook = "../../docs/operators/"

// TestHandbook types what the operators' handbook has one type, page by page,
// each on a site of three nodes that was made as its page "Form a site" says,
// and compares what is answered. A command after "$" is typed at the
// operator's own machine, one after "n2$" on that node. All of that is one
// machine here and one user; make deploy-test types the pages on four machines,
// with what the page "Install" has one type before there is a site.
func TestHandbook(t *testing.T) {
	for _, page := range []string{
		"install.md", "site.md", "accounts.md", "size.md", "secure.md", "abuse.md", "observe.md", "backup.md", "upgrade.md", "lose-a-node.md", "stolen-node.md", "lose-the-majority.md", "keys.md", "trouble.md",
		"other-sites.md",
	} {
		t.Run(strings.TrimSuffix(page, ".md"), func(t *testing.T) {
			o := newOffice(t)
			if page == "other-sites.md" {
				o.addOtherSite()
			}
			if page != "site.md" {
				o.form()
			}
			for _, step := range pageSteps(t, page) {
				o.do(step)
			}
		})
	}
}

// step is one command of a page, and what it is to answer.
type step struct {
	node    string // where it is typed; empty: at the operator's machine
	command string
	answers []string
}

var prompt = regexp.MustCompile(`^(n[0-9])?\$ (.*)`)

// pageSteps reads the blocks of a page that are marked console.
func pageSteps(t *testing.T, page string) (steps []step) {
	t.Helper()
	for _, block := range pageBlocks(t, page, "console") {
		for line := range strings.Lines(block) {
			line = strings.TrimSuffix(line, "\n")
			if m := prompt.FindStringSubmatch(line); m != nil {
				steps = append(steps, step{node: m[1], command: m[2]})
			} else if last := len(steps) - 1; last >= 0 && line != "" {
				steps[last].answers = append(steps[last].answers, line)
			}
		}
	}
	return steps
}

func pageBlocks(t *testing.T, page, mark string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile(handbook + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(b), "```"+mark+"\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no block marked %s", page, mark)
	}
	return blocks
}

// office is an operator's machine and a site of three nodes, all of it in one
// folder.
type office struct {
	*testing.T
	site *site.Site
	dir  string // what the operator works in
	env  []string
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{T: t, site: newCrowdSite(t), dir: t.TempDir()}
	o.write(filepath.Join(o.dir, "people.csv"), "alice@example.com,"+testPassword+"\nbob@example.com,"+testPassword+"\n")
	o.copy(o.site.CA, filepath.Join(o.dir, "example.com.crt"))
	o.copy(strings.TrimSuffix(o.site.CA, "crt")+"key", filepath.Join(o.dir, "example.com.key"))
	for _, n := range o.site.Nodes {
		o.write(filepath.Join(o.etc(n), "simpd.yaml"), o.configure(n))
		if err := os.MkdirAll(o.home(n), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func (o *office) copy(from, to string) {
	o.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		o.Fatal(err)
	}
	o.write(to, string(b))
}

func (o *office) write(path, content string) {
	o.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(content), 0o600)
	}
	if err != nil {
		o.Fatal(err)
	}
}

// form does what the page about it says, as all others begin with a site.
func (o *office) form() {
	o.Helper()
	for _, s := range pageSteps(o.T, "site.md") {
		if strings.Contains(s.command, "n4") {
			break
		}
		o.do(s)
	}
}

// etc is where a node's machine has /etc/simpd.
func (o *office) etc(n *site.Node) string { return filepath.Join(o.site.Dir, "etc", n.ID) }

// home is where the operator is on a node's machine.
func (o *office) home(n *site.Node) string { return filepath.Join(o.site.Dir, "home", n.ID) }

var (
	remoteCopy = regexp.MustCompile(`^scp (.*) (n[0-9])\.example\.com:(\S*)$`)
	asOther    = strings.NewReplacer("sudo -u simpd ", "", "sudo ", "", "-o simpd -g simpd ", "")
)

// typed is a command for the one machine and the one user that the test has.
func (o *office) typed(s step, n *site.Node) string {
	if m := remoteCopy.FindStringSubmatch(s.command); m != nil {
		return "cp " + m[1] + " " + o.home(o.node(m[2])) + "/" + m[3]
	}
	return o.place(asOther.Replace(s.command), n)
}

// do types one command and compares the answer.
func (o *office) do(s step) {
	o.Helper()
	n := o.node(s.node)
	if verb, ok := serviceVerb(s.command); ok {
		o.serve(n, verb)
		return
	}
	if assignments, ok := strings.CutPrefix(s.command, "export "); ok {
		o.env = append(o.env, strings.Fields(o.place(assignments, nil))...)
		return
	}
	cmd := exec.Command("bash", "-c", o.typed(s, n))
	cmd.Dir = o.dir
	if n != nil {
		cmd.Dir = o.home(n)
	}
	cmd.Env = append(append(os.Environ(), "SIMP_PASSWORD="+testPassword), o.env...)
	said, err := site.Output(cmd, site.Longest)
	if err != nil {
		o.Fatalf("%s %s: %v", s.node, s.command, err)
	}
	o.compare(s, said)
}

func (o *office) node(id string) *site.Node {
	for _, n := range o.site.Nodes {
		if n.ID == id {
			return n
		}
	}
	return nil
}

// serviceVerb is what a command wants of the service, if it is for systemd.
func serviceVerb(command string) (string, bool) {
	rest, ok := strings.CutPrefix(command, "sudo systemctl ")
	if !ok {
		return "", false
	}
	return strings.TrimSuffix(rest, " simpd"), true
}

// serve does what systemd does on a node's machine.
func (o *office) serve(n *site.Node, verb string) {
	o.Helper()
	switch verb {
	case "start", "enable --now":
		o.begin(n)
	case "stop", "disable --now":
		select {
		case <-n.Done(): // it was killed
		default:
			stop(o.T, n)
		}
	case "restart":
		stop(o.T, n)
		o.begin(n)
	case "reload":
		o.reload(n)
	case "kill -s KILL":
		n.Kill()
	default:
		o.Fatalf("nobody knows how to %s a service", verb)
	}
}

// reload has a node read everything again, which it has to be able to.
func (o *office) reload(n *site.Node) {
	o.Helper()
	had := strings.Count(n.Said(), `msg="read again"`)
	if err := n.Signal(syscall.SIGHUP); err != nil {
		o.Fatal(err)
	}
	eventually(o.T, n.ID+" reads again", func() bool { return strings.Count(n.Said(), `msg="read again"`) > had })
	if said := n.Said(); strings.Contains(said, "reload failed, keeping previous value") {
		o.Errorf("%s could not use all:\n%s", n.ID, said)
	}
}

func (o *office) begin(n *site.Node) {
	o.Helper()
	p, err := o.site.Start("simpd", "serve", "--config", filepath.Join(o.etc(n), "simpd.yaml"))
	if err != nil {
		o.Fatal(err)
	}
	n.Program = p
}

// configure is the page's configuration, made that of a node.
func (o *office) configure(n *site.Node) string {
	text := pageBlocks(o.T, "site.md", "yaml")[0]
	for key, value := range map[string]string{
		"node_id": n.ID, "simp_listen": n.SIMP, "simps_listen": n.SIMPS, "grpc_listen": n.GRPC, "cluster_listen": n.Cluster, "gossip_listen": n.Gossip,
		"advertise": "127.0.0.1", "advertise_client": n.SIMP,
		"cluster_cert": "/etc/simpd/node-" + n.ID + ".crt", "cluster_key": "/etc/simpd/node-" + n.ID + ".key",
	} {
		text = regexp.MustCompile(`(?m)^`+key+`: .*`).ReplaceAllString(text, key+": "+value)
	}
	return o.place(text+"http_listen: "+n.HTTP+"\n", n)
}

// place puts where things are in this test in the place of where the page
// has them.
func (o *office) place(text string, here *site.Node) string {
	var pairs []string
	for _, n := range o.site.Nodes {
		for port, address := range map[string]string{"7467": n.SIMP, "7468": n.SIMPS, "7469": n.GRPC, "7470": n.Cluster, "7471": n.Gossip, "7480": n.HTTP} {
			pairs = append(pairs, n.ID+".example.com:"+port, address)
		}
	}
	if here != nil {
		pairs = append(pairs, "127.0.0.1:7469", here.GRPC, "127.0.0.1:7480", here.HTTP,
			"/etc/simpd", o.etc(here), "/var/lib/simpd", here.Dir, "$(pgrep -o simpd)", fmt.Sprint(pid(here)))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func pid(n *site.Node) int {
	if n.Program == nil {
		return 0
	}
	return n.Process.Pid
}

// compare finds each line of the answers in what was said; … stands for anything.
func (o *office) compare(s step, said string) {
	o.Helper()
	for _, want := range s.answers {
		quoted, _ := json.Marshal(want)
		pattern := strings.ReplaceAll(regexp.QuoteMeta(want), "…", ".*")
		if !regexp.MustCompile(`(?m)^` + pattern + `$`).MatchString(said) {
			o.Fatalf("%s %s: the page has %s, and it says:\n%s", s.node, s.command, quoted, said)
		}
	}
}
