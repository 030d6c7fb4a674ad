package machines

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestHandbook types the operators' handbook, from the package to the removal,
// on four machines with systemd: by a user who may use sudo, with files that
// are brought from the operator's machine to the nodes'. n1 is installed from
// the sources, the others from the package.
func TestHandbook(t *testing.T) {
	o := newOffice(t)
	o.install()
	form, oneLess := split(pageSteps(t, "site.md"), "simpctl node drain n3")
	o.enter("site.md", form...)
	o.checkNodes()
	for _, page := range []string{
		"accounts.md", "size.md", "secure.md", "observe.md", "backup.md", "upgrade.md", "keys.md", "trouble.md", "lose-a-node.md", "stolen-node.md", "lose-the-majority.md",
	} {
		o.awaitThree()
		o.enter(page, pageSteps(t, page)...)
	}
	_, again := split(pageSteps(t, "lose-the-majority.md"), "sudo -u simpd simpd wipe --data-dir /var/lib/simpd --yes")
	for _, s := range again { // "Do the same on n3."
		s.node = strings.Replace(s.node, "n2", "n3", 1)
		o.enter("lose-the-majority.md", s)
	}
	o.awaitThree()
	o.enter("site.md", oneLess...)
	o.remove()
}

// split divides a page's steps before a command.
func split(steps []step, command string) (before, after []step) {
	at := slices.IndexFunc(steps, func(s step) bool { return s.command == command })
	return steps[:at], steps[at:]
}

// awaitThree waits until the site is as the next page finds it.
func (o *office) awaitThree() {
	o.Helper()
	o.sure("", "until simpctl status | grep -q 'healthy: 3 of 3 voters'; do sleep 0.2; done")
}

// office is the operator's machine and those of three nodes.
type office struct {
	*testing.T
	machines map[string]*machine // by name; "" is the operator's
	env      string              // what was exported there
}

func newOffice(t *testing.T) *office {
	t.Helper()
	net := newNetwork(t)
	o := &office{T: t, machines: map[string]*machine{}}
	for i, name := range []string{"n1", "n2", "n3", "op"} {
		shared := map[string]string{}
		if name == "n1" {
			shared[made(t, sourcesVariable)] = "/home/ops/simpd"
		} else {
			maps.Copy(shared, pack(t))
		}
		m := boot(t, name, net.join(name, i+1), shared)
		for j, other := range []string{"n1", "n2", "n3"} {
			m.do(fmt.Sprintf("echo 10.0.0.%d %s.example.com >>/etc/hosts", j+1, other))
		}
		m.do("cp -a /root/simpd.deb /home/ops/simpd_0.0.0_amd64.deb 2>/dev/null || true; chown ops: /home/ops/*.deb 2>/dev/null || true")
		if name == "op" {
			name = ""
		}
		o.machines[name] = m
	}
	o.machines[""].do(`cd /home/ops
	printf 'alice@example.com,a good password 1\nbob@example.com,a good password 2\n' >people.csv
	chown ops: people.csv`)
	o.certify()
	return o
}

// certify plays the authority that clients trust.
func (o *office) certify() {
	o.Helper()
	dir := o.TempDir()
	out, err := said(exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "300",
		"-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:example.com", "-keyout", dir+"/example.com.key", "-out", dir+"/example.com.crt"))
	if err != nil {
		o.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"example.com.crt", "example.com.key"} {
		content, err := said(exec.Command("cat", dir+"/"+name))
		if err != nil {
			o.Fatal(err)
		}
		o.machines[""].do("install -o ops -m 600 /dev/stdin /home/ops/" + name + " <<'END'\n" + content + "END")
	}
}

// install types the page about it, and puts each node's configuration there.
func (o *office) install() {
	o.Helper()
	sources := strings.Replace(strings.Join(pageBlocks(o.T, "install.md", "sh"), ""), "make build\n", "", 1) // it is done already
	o.sure("n1", "cd simpd && set -e\n"+sources)
	installing := pageBlocks(o.T, "install.md", "bash")[0]
	for _, name := range []string{"n2", "n3", ""} {
		o.sure(name, installing)
	}
	o.enter("install.md", pageSteps(o.T, "install.md")...)
	for i, name := range []string{"n1", "n2", "n3"} {
		if state, _ := o.machines[name].try("systemctl is-enabled simpd || true; systemctl is-active simpd || true"); state != "disabled\ninactive\n" {
			o.Errorf("%s: once it is installed the service is %q", name, state)
		}
		o.machines[name].do("install -o root -g simpd -m 640 /dev/stdin /etc/simpd/simpd.yaml <<'END'\n" + o.configure(name, i+1) + "END")
	}
}

// configure is the page's configuration of n1, made that of another node.
func (o *office) configure(name string, number int) string {
	text := pageBlocks(o.T, "site.md", "yaml")[0]
	text = strings.ReplaceAll(text, "10.0.0.1", fmt.Sprintf("10.0.0.%d", number))
	text = strings.ReplaceAll(text, "node-n1.", "node-"+name+".")
	for key, value := range map[string]string{"node_id": name, "advertise_client": name + ".example.com:7467"} {
		text = regexp.MustCompile(`(?m)^`+key+`: .*`).ReplaceAllString(text, key+": "+value)
	}
	return text
}

// enter has the operator type the steps of a page, and compares the answers.
func (o *office) enter(page string, steps ...step) {
	o.Helper()
	for _, s := range steps {
		if assignments, ok := strings.CutPrefix(s.command, "export "); ok && s.node == "" {
			o.env += "export " + assignments + "\n"
			continue
		}
		said := o.sure(s.node, s.command)
		for _, want := range s.answers {
			if !answered(said, want) {
				o.Fatalf("%s: %s$ %s: the page has %q, and it says:\n%s", page, s.node, s.command, want, said)
			}
		}
	}
}

// sure has the operator type what has to succeed.
func (o *office) sure(node, command string) string {
	o.Helper()
	typed := command
	if node == "" {
		typed = o.env + command
	}
	said, err := o.machines[node].asOperator(typed)
	if err != nil {
		o.Fatalf("%s$ %s: %v\n%s", node, command, err, said)
	}
	return said
}

// checkNodes looks at what the first pages have made of the machines.
func (o *office) checkNodes() {
	o.Helper()
	for _, name := range []string{"n1", "n2", "n3"} {
		m := o.machines[name]
		if state, _ := m.try("systemctl is-enabled simpd || true; systemctl is-active simpd || true"); state != "enabled\nactive\n" {
			o.Errorf("%s: after the page about the site the service is %q", name, state)
		}
		m.checkBacklogs()
	}
}

// checkBacklogs: as many connections may wait as the kernel lets, though the
// service does not see how many these are. Memberlist's own listener has the
// net package's 128, which nodes do not use up.
func (m *machine) checkBacklogs() {
	m.Helper()
	limit := strings.TrimSpace(m.do("cat /proc/sys/net/core/somaxconn"))
	for line := range strings.Lines(m.do("ss -Hltn '( sport >= 7467 and sport <= 7480 )'")) {
		fields := strings.Fields(line)
		want := limit
		if strings.HasSuffix(fields[3], ":7471") {
			want = "128"
		}
		if fields[2] != want {
			m.Errorf("%s: of %s %s connections may wait, and not %s", m.name, fields[3], fields[2], want)
		}
	}
}

// remove types the removal on the machines that have the package.
func (o *office) remove() {
	o.Helper()
	removal := pageBlocks(o.T, "install.md", "bash")[1]
	for _, name := range []string{"n2", "n3"} {
		o.sure(name, removal)
		left := o.machines[name].do("ls -d /etc/simpd /var/lib/simpd /usr/bin/simpd /etc/systemd/system/*/simpd.service 2>/dev/null || true; systemctl list-units --all --no-legend 'simpd*'")
		if left != "" {
			o.Errorf("%s: the removal leaves %s", name, left)
		}
	}
}
