package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"simpd/cluster"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/store"
)

// TestSettingsThatDiffer: what has to be the same on all nodes, and is not, is
// told by doctor, status and a metric, until it is; a file's content is not told.
func TestSettingsThatDiffer(t *testing.T) {
	s := newCrowdSite(t)
	s.Env = nil // and so with the standard limits
	secret := strings.Repeat("5e", 32)
	tokens := write(t, "tokens", "desk sha256:"+secret+" role=presence:read\n", 0o600)
	file := write(t, "simpd.yaml", "limit: messages=7:70\n", 0o600)
	other := []string{"--config=" + file, "--domain=example.org", "--token-file=" + tokens}
	for i, n := range s.Nodes {
		if s.Flags = nil; i == 2 {
			s.Flags = other
		}
		if err := n.Begin(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range s.Nodes {
		if err := n.Ready(patience); err != nil {
			t.Fatal(err)
		}
	}
	code, doctor, err := s.Simpctl(s.Nodes[0], "doctor")
	if err != nil || code != 1 {
		t.Errorf("doctor: exit code %d, %v", code, err)
	}
	_, status, _ := s.Simpctl(s.Nodes[1], "status")
	for _, want := range []string{
		"domain is not the same on all nodes (n1, n2: example.com; n3: example.com, example.org)",
		"limit is not the same on all nodes (n1, n2: the standard limits; n3: messages=7:70)",
		"token_file is not the same on all nodes (n1, n2: none; n3: 1 token)",
	} {
		if !strings.Contains(doctor, want) || !strings.Contains(status, want) {
			t.Errorf("%q is not in\n%s\n%s", want, doctor, status)
		}
	}
	if all := doctor + status; strings.Contains(all, secret) || strings.Contains(all, "desk") || strings.Contains(all, "federation") {
		t.Error(all)
	}
	awaitMetric(t, "http://"+s.Nodes[0].HTTP, `simp_setting_differs{setting="domain"} 1`, `simp_setting_differs{setting="token_file"} 1`, `simp_setting_differs{setting="timing"} 0`)
	awaitMetric(t, "http://"+s.Nodes[2].HTTP, `simp_setting_differs{setting="domain"} 2`)

	// A setting that a node takes while it runs is compared as it is in use.
	awaitMetric(t, "http://"+s.Nodes[0].HTTP, `simp_setting_differs{setting="limit"} 1`)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Nodes[2].Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitMetric(t, "http://"+s.Nodes[0].HTTP, `simp_setting_differs{setting="limit"} 0`, `simp_setting_differs{setting="domain"} 1`)

	s.Flags = nil
	restart(t, s.Nodes[2])
	awaitMetric(t, "http://"+s.Nodes[0].HTTP, `simp_setting_differs{setting="domain"} 0`, `simp_setting_differs{setting="token_file"} 0`)
	if _, doctor, _ := s.Simpctl(s.Nodes[0], "doctor"); strings.Contains(doctor, "not the same") {
		t.Errorf("all are the same, and doctor says\n%s", doctor)
	}
}

// awaitMetric waits until a node has these lines of metrics.
func awaitMetric(t *testing.T, node string, lines ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s has %q", node, lines), func() bool {
		answer, err := http.Get(node + "/metrics")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return err == nil && !slices.ContainsFunc(lines, func(l string) bool { return !strings.Contains(string(body), "\n"+l+"\n") })
	})
}

// nodeWith is a node with a configuration, of which only the settings are used.
func nodeWith(t *testing.T, args ...string) *node {
	t.Helper()
	c, wrong := loadWith(t, "", nil, append([]string{"--node-id=n1", "--data-dir=here", "--bootstrap-expect=1", "--insecure"}, args...)...)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	n := &node{conf: c, table: store.New(store.Config{}), partners: &partners{}}
	n.limits.Store(&c.limits)
	if err := n.partners.load(&c.federation); err != nil {
		t.Fatal(err)
	}
	return n
}

func told(n *node, secret string) (all []*clusterv1.Setting) {
	for _, a := range n.agreedSettings() {
		all = append(all, a.setting([]byte(secret)))
	}
	return all
}

func differing(a, b *node) (names []string) {
	for _, d := range cluster.Differences([]cluster.NodeStatus{{ID: "n1", Settings: told(a, "s")}, {ID: "n2", Settings: told(b, "s")}}) {
		names = append(names, d.Setting)
	}
	return names
}

// TestAgreedSettings: what means the same is the same, however it is written, and
// what does not is not.
func TestAgreedSettings(t *testing.T) {
	for _, tt := range []struct {
		a, b []string
		want string
	}{
		{[]string{"--domain=a.example", "--domain=bücher.example"}, []string{"--domain=A.example", "--domain=xn--bcher-kva.example"}, ""},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--limit=messages=100:2000"}, ""},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--simp-listen=127.0.0.1:1", "--drain-timeout=1m", "--log-level=debug"}, ""},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--timing=relaxed"}, "timing"},
		{[]string{"--domain=a.example", "--ws-listen=127.0.0.1:1", "--ws-origin=https://x.example", "--ws-origin=https://y.example"},
			[]string{"--domain=a.example", "--ws-listen=127.0.0.1:1", "--ws-origin=https://y.example", "--ws-origin=https://x.example"}, ""},
		{[]string{"--domain=a.example", "--ws-listen=127.0.0.1:1", "--ws-origin=https://x.example"}, []string{"--domain=a.example", "--ws-listen=127.0.0.1:1"}, "ws_origin"},
		{[]string{"--domain=a.example", "--ws-listen=127.0.0.1:1", "--ws-origin=https://x.example"}, []string{"--domain=a.example"}, ""},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--federation=closed"}, "federation"},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--federation=a.example=closed"}, "federation"},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--federation-allow=x.example"}, "federation_allow"},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--federation-block=x.example"}, "federation_block"},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--federation-require-external=*"}, "federation_require_external"},
		{[]string{"--domain=a.example"}, []string{"--domain=a.example", "--route=x.example=10.0.0.1:7468"}, "route"},
	} {
		if names := differing(nodeWith(t, tt.a...), nodeWith(t, tt.b...)); strings.Join(names, " ") != tt.want {
			t.Errorf("%q and %q: %q differ, want %q", tt.a, tt.b, names, tt.want)
		}
	}
}

// TestAgreedSettingsTellNoSecret: the sums are the site's own, and values have a bound.
func TestAgreedSettingsTellNoSecret(t *testing.T) {
	args := []string{}
	for i := range 200 {
		args = append(args, fmt.Sprintf("--domain=%d.example", i))
	}
	n := nodeWith(t, args...)
	here, there := told(n, "secret"), told(n, "another site's")
	for i := range here {
		if len(here[i].Sum) > 0 && string(here[i].Sum) == string(there[i].Sum) {
			t.Errorf("the sum of %s is known outside", here[i].Name)
		}
		if len(here[i].Value) > maxSettingText {
			t.Errorf("%s: %d octets", here[i].Name, len(here[i].Value))
		}
	}
	if n.sharedSettings() != nil {
		t.Error("a node of no site yet tells something")
	}
}
