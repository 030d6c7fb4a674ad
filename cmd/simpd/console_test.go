package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// consoleCookie is the name of the console's cookie.
const consoleCookie = "__Host-simp-console"

// askConsole makes a request to a node's console, at any path.
func (n *testNode) askConsole(method, path, cookie, body string) *http.Response {
	n.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") {
		url = "http://" + n.address("console-listen") + path
	}
	r, err := http.NewRequestWithContext(n.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if cookie != "" {
		r.Header.Set("Cookie", consoleCookie+"="+cookie)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if strings.HasSuffix(path, "#events") {
		r.Header.Set("Accept", "text/event-stream")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// consoleLink returns the link that simpctl console prints.
func consoleLink(t *testing.T, operator []string) string {
	t.Helper()
	link, _, _ := strings.Cut(succeed(t, "", "simpctl", operator...), "\n")
	return link
}

func cookieFrom(r *http.Response) string {
	for _, c := range r.Cookies() {
		if c.Name == consoleCookie {
			return c.Value
		}
	}
	return ""
}

// events reads a stream of a node's console.
type events struct{ *bufio.Reader }

// await reads until an event has the text, or the stream ends.
func (e events) await(text string) (line string, ok bool) {
	for {
		line, err := e.ReadString('\n')
		if err != nil {
			return "", false
		}
		if strings.HasPrefix(line, "data: ") && strings.Contains(line, text) {
			return line, true
		}
	}
}

// siteDocument is what the page of the site is made of, as far as tests look.
type siteDocument struct {
	Status struct {
		Node []struct {
			ID             string `json:"id"`
			State          string `json:"state"`
			ConsoleAddress string `json:"console_address"`
			Digest         string `json:"digest"`
		} `json:"node"`
	} `json:"status"`
}

// A link signs in once, its cookie works at every node and outlives the node that
// made it, and a revocation at one node ends it at all.
func TestConsoleOnThreeNodes(t *testing.T) {
	t.Setenv("SIMPD_CONSOLE_LISTEN", "127.0.0.1:0")
	keys, dir := makeKeys(t, "n1", "n2", "n3"), t.TempDir()
	site := startSite(t, dir, keys, "n1", "n2", "n3")
	site[0].addSecureUsers(keys, "bob")

	link := consoleLink(t, site[0].operator(keys, "console"))
	if !strings.HasPrefix(link, "http://"+site[0].address("console-listen")+"/signin?token=") {
		t.Fatalf("the link is %s", link)
	}
	cookie := cookieFrom(site[0].askConsole("GET", link, "", ""))
	if cookie == "" {
		t.Fatal("the link gives no cookie")
	}
	elsewhere := strings.Replace(link, site[0].address("console-listen"), site[2].address("console-listen"), 1)
	for _, again := range []string{link, elsewhere} {
		if r := site[0].askConsole("GET", again, "", ""); r.StatusCode != http.StatusForbidden || cookieFrom(r) != "" {
			t.Errorf("the link a second time: %d", r.StatusCode)
		}
	}
	for _, n := range site {
		if r := n.askConsole("GET", "/api/site", "", ""); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a cookie: %d", n.id, r.StatusCode)
		}
		var d siteDocument
		if err := json.NewDecoder(n.askConsole("GET", "/api/site", cookie, "").Body).Decode(&d); err != nil || len(d.Status.Node) != 3 {
			t.Fatalf("%s: %v %+v", n.id, err, d)
		}
		for i, shown := range d.Status.Node {
			if shown.ConsoleAddress != "http://"+site[i].address("console-listen") {
				t.Errorf("%s says that the console of %s is at %s", n.id, shown.ID, shown.ConsoleAddress)
			}
		}
	}

	// An action at one node stands in the audit log that another shows.
	if r := site[1].askConsole("POST", "/api/user/disable", cookie, `{"ima":"bob@example.com"}`); r.StatusCode != http.StatusOK {
		t.Fatalf("disabling: %d", r.StatusCode)
	}
	audit, _ := io.ReadAll(site[2].askConsole("GET", "/api/audit", cookie, "").Body)
	for _, want := range []string{`"node":"n2"`, `"who":"operator"`, `"via":"console"`, `"what":"AccountService/Disable"`, `"whom":"bob@example.com"`, `"what":"Console/SignIn"`, `"what":"ClusterService/CreateConsoleLink"`} {
		if !strings.Contains(string(audit), want) {
			t.Errorf("the audit log lacks %s: %s", want, audit)
		}
	}

	stream := events{bufio.NewReader(site[1].askConsole("GET", "/api/site#events", cookie, "").Body)}
	if _, ok := stream.await(`"NODE_STATE_READY"`); !ok {
		t.Fatal("the stream of n2 has ended")
	}
	site[0].signal(syscall.SIGKILL)
	site[0].exit()
	line, ok := stream.await(`"NODE_STATE_DOWN"`)
	var d siteDocument
	if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &d); !ok || err != nil || !strings.Contains(line, `"about":"n1"`) {
		t.Errorf("after the end of n1: %v %v %+v", ok, err, d)
	}
	if r := site[2].askConsole("GET", "/api/users", cookie, ""); r.StatusCode != http.StatusOK {
		t.Errorf("the cookie after the end of the node that made it: %d", r.StatusCode)
	}

	// A revocation at n3 ends the stream at n2.
	succeed(t, "", "simpctl", site[2].operator(keys, "console", "--revoke")...)
	if _, ok := stream.await("\x00"); ok {
		t.Error("the stream goes on")
	}
	for _, n := range site[1:] {
		if r := n.askConsole("GET", "/api/site", cookie, ""); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s after the revocation: %d", n.id, r.StatusCode)
		}
	}

	// A page that is open keeps no node from stopping.
	cookie = cookieFrom(site[1].askConsole("GET", consoleLink(t, site[2].operator(keys, "console", "--node", "n2")), "", ""))
	stream = events{bufio.NewReader(site[1].askConsole("GET", "/api/site#events", cookie, "").Body)}
	if _, ok := stream.await("n2"); !ok {
		t.Error("the second session has no stream")
	}
	site[1].signal(syscall.SIGTERM)
	if code := site[1].exit(); code != 0 {
		t.Errorf("n2 has ended with exit code %d", code)
	}
}

// A node without the option serves no console, and says so to whoever asks for
// one.
func TestNoConsole(t *testing.T) {
	n := serveInsecure(t, t.TempDir())
	for _, args := range [][]string{{"console"}, {"console", "--node", "n1"}, {"console", "--node", "n7"}} {
		code, said := runTo(t, "", "simpctl", append([]string{"--insecure", "--addr", n.address("grpc-listen")}, args...)...)
		if code != 1 || !strings.Contains(said, "console_listen") && !strings.Contains(said, "there is no node n7") {
			t.Errorf("simpctl %q: exit code %d: %s", args, code, said)
		}
	}
}
