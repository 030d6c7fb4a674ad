package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"simpd/cmd/testkit/site"
)

const deployments = "../../deployments/"

// composeNode is a service of the compose file.
type composeNode struct {
	Environment map[string]string
	Ports       []string
	Volumes     []string
}

// TestComposeFile types what the head of the compose file has one type: then each
// node has every file that its variables name, and a configuration that nothing is
// wrong with, and MOVE tells where clients reach it. That the image's user can read
// the files, and that the site forms, make deploy-test tries.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(deployments + "compose/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	typeHead(t, dir, string(content))
	var compose struct{ Services map[string]composeNode }
	host := regexp.MustCompile(`\$\{CLIENT_HOST:-(.*?)\}`).ReplaceAllString(string(content), "$1")
	if err := yaml.Unmarshal([]byte(host), &compose); err != nil {
		t.Fatal(err)
	}
	if len(compose.Services) != 3 {
		t.Errorf("there are %d services", len(compose.Services))
	}
	for name, n := range compose.Services {
		n.check(t, dir, name)
	}
}

// typeHead types the commands in the comment that a file begins with, but for those
// that want an engine, or a site that runs, and without the rights to give files away.
func typeHead(t *testing.T, dir, content string) {
	t.Helper()
	script := "set -e\nsudo() { \"$@\"; }\ndocker() { :; }\n"
	for _, name := range []string{"example.com.crt", "example.com.key"} {
		script += "cp tls/node-n1." + filepath.Ext(name)[1:] + " " + name + "\n" // as good as any that a client would check
	}
	typed := ""
	for _, m := range regexp.MustCompile(`(?m)^#   (.*)$`).FindAllStringSubmatch(content, -1) {
		typed += strings.ReplaceAll(m[1], "-o 65532 -g 65532 ", "") + "\n"
	}
	keys, rest, ok := strings.Cut(typed, "\n")
	if !ok || !strings.Contains(keys, "tls init") {
		t.Fatalf("the head begins with %q", keys)
	}
	rest, _, _ = strings.Cut(rest, "simpctl")
	cmd := exec.Command("bash", "-c", keys+"\n"+script+rest)
	cmd.Dir = dir
	if _, err := site.Output(cmd, site.Longest); err != nil {
		t.Fatal(err)
	}
}

// check loads a node's variables, with the files where its volumes have them.
func (n *composeNode) check(t *testing.T, dir, name string) {
	t.Helper()
	env := map[string]string{"SIMPD_DATA_DIR": filepath.Join(dir, name)}
	for key, value := range n.Environment {
		if strings.HasPrefix(value, "/etc/simpd/") {
			value = filepath.Join(dir, "etc", name, strings.TrimPrefix(value, "/etc/simpd/"))
		}
		env[key] = value
		if option := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(key, "SIMPD_")), "_", "-"); !hasOption(option) {
			t.Errorf("%s: there is no variable %s", name, key)
		}
	}
	if !strings.HasPrefix(n.Volumes[0], "./etc/"+name+":/etc/simpd:ro") {
		t.Errorf("%s: volumes %q", name, n.Volumes)
	}
	c, wrong := loadConfig("", environment(env), nil)
	if len(wrong) > 0 {
		t.Errorf("%s: %v", name, wrong)
		return
	}
	for i, advertised := range []string{c.advertiseClient, c.advertiseClientTLS} {
		want := strings.TrimPrefix(advertised, "example.com:") + ":" + []string{"7467", "7468"}[i]
		if n.Ports[i] != want {
			t.Errorf("%s: MOVE tells %s, and the ports are %q", name, advertised, n.Ports)
		}
	}
}

func hasOption(name string) bool {
	for _, o := range allOptions() {
		if o.name == name {
			return true
		}
	}
	return false
}

// TestChartVariables: the chart sets no variable that simpd does not know, and
// names files as `simpctl tls init` does.
func TestChartVariables(t *testing.T) {
	content, err := os.ReadFile(deployments + "helm/simpd/templates/statefulset.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`name: SIMPD_([A-Z_]+), value: "?([^"}]*)`).FindAllStringSubmatch(string(content), -1)
	for _, m := range found {
		if option := strings.ReplaceAll(strings.ToLower(m[1]), "_", "-"); !hasOption(option) {
			t.Errorf("there is no variable SIMPD_%s", m[1])
		}
		if file, ok := strings.CutPrefix(m[2], "/etc/simpd/cluster/"); ok && !regexp.MustCompile(`^(ca\.crt|gossip\.key|node-\$\(POD\)\.(crt|key))$`).MatchString(file) {
			t.Errorf("SIMPD_%s names %s", m[1], m[2])
		}
	}
	if len(found) < 20 {
		t.Errorf("only %d variables were found", len(found))
	}
	notes, err := os.ReadFile(deployments + "helm/simpd/templates/NOTES.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range regexp.MustCompile(`tls/[a-z.-]+`).FindAllString(string(notes), -1) {
		if !regexp.MustCompile(`^tls/(ca\.crt|gossip\.key|node-|service-operator\.(crt|key))$`).MatchString(file) {
			t.Errorf("the notes name %s", file)
		}
	}
}
