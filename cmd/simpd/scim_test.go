package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// provider calls a node's SCIM service over TLS.
type provider struct {
	*testing.T
	http  *http.Client
	token string
}

func newProvider(t *testing.T, keys, token string) *provider {
	pem, err := os.ReadFile(filepath.Join(keys, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}}
	t.Cleanup(transport.CloseIdleConnections)
	return &provider{t, &http.Client{Transport: transport}, token}
}

// call makes a request, and returns its status and the answer.
func (p *provider) call(n *testNode, method, host, path, body string) (int, map[string]any) {
	p.Helper()
	_, port, _ := net.SplitHostPort(n.address("scim-listen"))
	r, err := http.NewRequestWithContext(p.Context(), method, "https://127.0.0.1:"+port+path, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	r.Host = host
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Content-Type", "application/scim+json")
	resp, err := p.http.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	octets, err := io.ReadAll(resp.Body)
	if err != nil {
		p.Fatal(err)
	}
	var answer map[string]any
	_ = json.Unmarshal(octets, &answer) // some answers are no JSON
	return resp.StatusCode, answer
}

// An identity provider creates a user at one node, and deactivates the user at
// another: all sessions on all nodes end at once.
func TestProvisioningOnThreeNodes(t *testing.T) {
	token, reader := strings.Repeat("t", 40), strings.Repeat("r", 40)
	t.Setenv("SIMPD_TOKEN_FILE", writeFile(t, "tokens", fmt.Sprintf("entra sha256:%x role=account:admin\nreader sha256:%x role=presence:read\n", sha256.Sum256([]byte(token)), sha256.Sum256([]byte(reader)))))
	t.Setenv("SIMPD_SCIM_LISTEN", "0.0.0.0:0")
	t.Setenv("SIMPD_HTTP_HOST", "scim.example.com")
	keys, dir := makeKeys(t, "n1", "n2", "n3"), t.TempDir()
	nodes := startSite(t, dir, keys, "n1", "n2", "n3")
	p := newProvider(t, keys, token)
	const host, users = "scim.example.com", "/scim/v2/Users"
	code, dora := p.call(nodes[1], "POST", host, users, `{"userName":"Dora@example.com","password":"`+testPassword+`","active":true,"displayName":"Dora"}`)
	if code != 201 || dora["userName"] != "dora@example.com" {
		t.Fatalf("created: %d %v", code, dora)
	}
	var sessions []*process
	for _, n := range nodes {
		sessions = append(sessions, n.listens(keys, "dora"))
	}
	user := users + "/" + dora["id"].(string)
	if code, answer := p.call(nodes[2], "PATCH", host, user, `{"Operations":[{"op":"Replace","value":{"active":"False"}}]}`); code != 200 || answer["active"] != false {
		t.Errorf("deactivated: %d %v", code, answer)
	}
	for i, s := range sessions {
		if code := s.exit(); code != 1 {
			t.Errorf("the session at %s ended with exit code %d", nodes[i].id, code)
		}
	}
	nodes[2].await(nodes[2].err, "audit.who=entra audit.what=AccountService/Disable audit.whom=dora@example.com audit.outcome=OK")
	if code, said := nodes[0].person(keys, "dora", "app", "list"); code != 1 || !strings.Contains(said, "(401)") {
		t.Errorf("a login of a user who is not active: exit code %d: %s", code, said)
	}
	if code, answer := p.call(nodes[0], "PATCH", host, user, `{"Operations":[{"op":"Replace","path":"active","value":"True"}]}`); code != 200 || answer["active"] != true {
		t.Errorf("activated: %d %v", code, answer)
	}
	if code, said := nodes[1].person(keys, "dora", "app", "list"); code != 0 {
		t.Errorf("a login of a user who is active again: exit code %d: %s", code, said)
	}
	if code, _ := p.call(nodes[1], "DELETE", host, user, ""); code != 204 {
		t.Errorf("removed: %d", code)
	}
	if code, erik := p.call(nodes[1], "POST", host, users, `{"userName":"erik@example.com"}`); code != 201 || erik["active"] != true {
		t.Errorf("a user without a password: %d %v", code, erik)
	}
	if said := succeed(t, "", "simpctl", nodes[0].operator(keys, "account", "list")...); !strings.Contains(said, "erik@example.com") || strings.Contains(said, "dora@example.com") {
		t.Errorf("account list: %s", said)
	}
	if code, _ := p.call(nodes[0], "GET", "evil.example.org", users, ""); code != http.StatusMisdirectedRequest {
		t.Errorf("another Host: %d", code)
	}
	for other, want := range map[string]int{reader: 403, strings.Repeat("x", 40): 401} {
		if code, answer := newProvider(t, keys, other).call(nodes[0], "GET", host, users, ""); code != want {
			t.Errorf("another token: %d %v, want %d", code, answer, want)
		}
	}
}

// A listener for providers that would be open to others is refused.
func TestSCIMSettings(t *testing.T) {
	for text, lines := range map[string]string{
		"so a certificate is required":    "scim_listen: 192.0.2.1:7482\n",
		"identity providers need a token": "scim_listen: 127.0.0.1:7482\n",
		"--insecure is for loopback only": "insecure: true\nscim_listen: 192.0.2.1:7482\n",
	} {
		file := writeFile(t, "simpd.yaml", "node_id: n1\ndata_dir: "+t.TempDir()+"\ndomain: example.com\nbootstrap_expect: 1\n"+lines)
		code, said := runTo(t, "", "simpd", "check-config", "--config", file)
		if code == 0 || !strings.Contains(said, text) {
			t.Errorf("%s: exit code %d: %s", lines, code, said)
		}
	}
}

// One source has few connections to the SCIM service at once, and a shutdown closes
// those on which a request has begun that does not end.
func TestSCIMConnectionsAreLimited(t *testing.T) {
	token := strings.Repeat("t", 40)
	t.Setenv("SIMPD_TOKEN_FILE", writeFile(t, "tokens", fmt.Sprintf("entra sha256:%x role=account:admin\n", sha256.Sum256([]byte(token)))))
	t.Setenv("SIMPD_SCIM_LISTEN", "127.0.0.1:0")
	keys := makeKeys(t, "n1")
	n := startSite(t, t.TempDir(), keys, "n1")[0]
	var held []net.Conn
	for range 65 {
		c, err := net.Dial("tcp", n.address("scim-listen"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	if _, err := held[64].Read(make([]byte, 1)); err == nil {
		t.Error("the 65th connection of one source is served")
	}
	request := "POST /scim/v2/Users HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token + "\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
	if _, err := held[0].Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("HTTP/1.1 100"))
	if _, err := io.ReadFull(held[0], line); err != nil || !strings.HasSuffix(string(line), "100") {
		t.Errorf("%q %v", line, err)
	}
}
