package console

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/api"
	"simpd/cluster/link/pki"
)

var update = flag.Bool("update", false, "write the golden files")

// everyRoute returns the routes in order.
func everyRoute(c *Console) (all []*route) {
	for _, verbs := range c.routes {
		for _, r := range verbs {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b *route) int { return strings.Compare(a.path+a.verb, b.path+b.verb) })
	return all
}

// TestEveryRouteNeedsACookie walks all routes, and paths that are none: without a
// session all but the way in answer 401.
func TestEveryRouteNeedsACookie(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	valid := n.signIn(allRoles)
	routes := everyRoute(n.console)
	if len(routes) < 20 {
		t.Fatalf("only %d routes", len(routes))
	}
	var open []string
	for _, r := range routes {
		if r.access == openAccess {
			open = append(open, r.verb+" "+r.path)
			continue
		}
		for name, cookie := range map[string]string{"none": "", "garbage": "AAAA", "half": valid[:len(valid)/2], "altered": flip(valid)} {
			for _, accept := range []string{"*/*", "text/html", "text/event-stream"} {
				if got := n.status(r.verb, r.path, cookie, "{}", "Accept", accept); got != http.StatusUnauthorized {
					t.Errorf("%s %s with the cookie %s: %d", r.verb, r.path, name, got)
				}
			}
		}
	}
	if want := []string{"GET /signin/style.css", "GET /signin", "POST /signin"}; !slices.Equal(open, want) {
		t.Errorf("open are %q, want %q", open, want)
	}
	for _, path := range []string{"/none", "/api", "/api/", "/api/none", "/metrics", "/index.html", "/favicon.ico", "*", ""} {
		for _, verb := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X"} {
			if got := n.status(verb, path, "", ""); got != http.StatusUnauthorized {
				t.Errorf("%s %q: %d", verb, path, got)
			}
		}
	}
}

// flip changes one octet of a cookie.
func flip(cookie string) string {
	b := []byte(cookie)
	if b[10]++; b[10] > 'z' || b[10] == '[' || b[10] == ':' {
		b[10] = 'a'
	}
	return string(b)
}

// TestRoutesAndRoles holds who may use which route to what was reviewed, and each
// refusal to be 403.
func TestRoutesAndRoles(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	roles := append([]string{""}, pki.AllRoles()...)
	var out strings.Builder
	fmt.Fprintf(&out, "%-28s", "route")
	for _, role := range roles {
		fmt.Fprintf(&out, " %-13s", role)
	}
	for _, r := range everyRoute(n.console) {
		fmt.Fprintf(&out, "\n%-28s", r.verb+" "+r.path)
		for _, role := range roles {
			may := "-"
			who := api.Identity{Name: "olga", Roles: strings.Fields(role)}
			if r.access != byMethod || n.server.Authorize(who, r.method) == nil {
				may = "yes"
			}
			fmt.Fprintf(&out, " %-13s", may)
			if got := n.status(r.verb, r.path, n.signIn(role), "{}", "Accept", "application/json"); (got == http.StatusForbidden) != (may == "-") {
				t.Errorf("%s %s as %q: %d, and the table says %s", r.verb, r.path, role, got, may)
			}
			if strings.HasPrefix(r.verb, "POST") && role == "cluster:read" && may == "yes" && !slices.Contains([]string{"/signin", "/api/signout", "/api/domain/check"}, r.path) {
				t.Errorf("cluster:read may use %s %s, which changes something", r.verb, r.path)
			}
			if r.verb == http.MethodGet && role == "cluster:read" && may != "yes" {
				t.Errorf("cluster:read does not see %s", r.path)
			}
		}
	}
	lines := strings.Split(out.String(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	golden(t, "testdata/routes.golden", strings.Join(lines, "\n")+"\n")
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRolesHaveLetters: a role without a letter would be lost on the way through
// a link.
func TestRolesHaveLetters(t *testing.T) {
	for _, role := range pki.AllRoles() {
		if got := decodeRoles(encodeRoles([]string{role})); !slices.Equal(got, []string{role}) {
			t.Errorf("%s becomes %q", role, got)
		}
	}
}

// TestForgedHosts: a request that calls the console by another name is refused
// before anything else, also with a session.
func TestForgedHosts(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	cookie := n.signIn(allRoles)
	for host, want := range map[string]int{
		"evil.example": 421, "n1.example.com.evil.example": 421, "evil.example:7475": 421, "localhost.evil.example": 421,
		"n1.example.com": 200, "N1.EXAMPLE.COM:7475": 200, "127.0.0.1:7475": 200, "[::1]:7475": 200, "localhost": 200,
	} {
		if got := n.status("GET", "/api/site", cookie, "", "Host", host); got != want {
			t.Errorf("Host %s: %d, want %d", host, got, want)
		}
	}
}

// TestForgedOrigins: what pages of other origins have a browser do is refused.
func TestForgedOrigins(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	n.site.account("alice@example.com")
	cookie := n.signIn(allRoles)
	const act, body = "/api/user/disable", `{"ima":"alice@example.com"}`
	for name, header := range map[string][]string{
		"another site":            {"Sec-Fetch-Site", "cross-site"},
		"another host":            {"Sec-Fetch-Site", "same-site"},
		"another port":            {"Origin", "https://n1.example.com:9999"},
		"another scheme and port": {"Origin", "http://n1.example.com"},
		"an opaque origin":        {"Origin", "null"},
		"an origin that is none":  {"Origin", "x"},
		"a lying fetch":           {"Sec-Fetch-Site", "cross-site", "Origin", "https://n1.example.com:7475"},
	} {
		if got := n.status("POST", act, cookie, body, header...); got != http.StatusForbidden {
			t.Errorf("%s: %d", name, got)
		}
	}
	if strings.Contains(n.site.logged(), "AccountService/Disable") {
		t.Error("a forged request was carried out")
	}
	for _, site := range []string{"cross-site", "same-site"} { // GET, as by a script or an image
		if got := n.status("GET", "/api/users", cookie, "", "Sec-Fetch-Site", site); got != http.StatusForbidden {
			t.Errorf("GET from a %s page: %d", site, got)
		}
		if got := n.status("GET", "/", cookie, "", "Sec-Fetch-Site", site, "Sec-Fetch-Mode", "navigate"); got != http.StatusOK {
			t.Errorf("a link from a %s page: %d", site, got)
		}
	}
	for _, header := range [][]string{{"Sec-Fetch-Site", "same-origin"}, {"Origin", "https://n1.example.com:7475"}, nil} {
		if got := n.status("POST", act, cookie, body, header...); got != http.StatusOK {
			t.Errorf("the page itself, %q: %d", header, got)
		}
	}
	if got := n.status("POST", act, cookie, body, "Content-Type", "text/plain"); got != http.StatusBadRequest {
		t.Errorf("what a form of another page could send: %d", got)
	}
}

// TestPathTricks: no spelling of a path but its own leads anywhere. (Openfire let
// such paths past its check of logins: CVE-2008-6508, CVE-2023-32315.)
func TestPathTricks(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	cookie := n.signIn(allRoles)
	for _, path := range []string{
		"/signin/../api/site", "/signin/..;/api/site", "/signin;/../api/site", "/signin/%2e%2e/api/site", "/signin/%2e./api/site", "/signin/.%2E/api/site",
		"/signin/%u002e%u002e/api/site", "/signin/%252e%252e/api/site", "/signin%2f..%2fapi%2fsite", "/signin/..%2fapi/site", "/signin/..%5capi/site",
		`/signin\..\api\site`, "//api/site", "/./api/site", "/api//site", "/api/site/", "/api/site;x", "/api/site%00", "/api/site%20", "/api/./site",
		"/%61pi/site", "/api%2fsite", "/API/site", "/api/site%3f", "/setup/setup-/../../api/site", "/signin/style.css/../../api/site", "/signin/style.css%2f..%2f..",
		"/signin/", "/signin/style.css/", "http://n1.example.com:7475/api/site", "/api/\u2024\u2024/site", "/signin/..%c0%af../api/site",
	} {
		for _, verb := range []string{"GET", "POST"} {
			if got := n.status(verb, path, "", ""); got != http.StatusUnauthorized {
				t.Errorf("%s %q without a cookie: %d", verb, path, got)
			}
			if got := n.status(verb, path, cookie, ""); got != http.StatusNotFound {
				t.Errorf("%s %q with one: %d", verb, path, got)
			}
		}
	}
}

// TestMethods: a path knows its methods only, and HEAD has no body.
func TestMethods(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	cookie := n.signIn(allRoles)
	for _, verb := range []string{"POST", "PUT", "DELETE", "OPTIONS", "TRACE"} {
		r := n.do(verb, "/api/site", cookie, "")
		if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET" {
			t.Errorf("%s: %d, Allow %q", verb, r.StatusCode, r.Header.Get("Allow"))
		}
	}
	r := n.do("HEAD", "/app.js", cookie, "")
	if body, _ := io.ReadAll(r.Body); r.StatusCode != http.StatusOK || len(body) > 0 {
		t.Errorf("HEAD: %d, %d octets", r.StatusCode, len(body))
	}
}

// TestSecurityHeaders: every answer has them, whatever it is.
func TestSecurityHeaders(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	cookie := n.signIn(allRoles)
	for _, target := range []string{"/", "/app.js", "/api/session", "/api/site", "/none", "/signin", "/signin?token=x", "/signin/style.css"} {
		for _, c := range []string{"", cookie} {
			head := n.do("GET", target, c, "").Header
			policy := head.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'"} {
				if !strings.Contains(policy, want) {
					t.Errorf("%s: the policy lacks %s: %s", target, want, policy)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
				t.Errorf("%s: the policy allows too much: %s", target, policy)
			}
			if head.Get("X-Content-Type-Options") != "nosniff" || head.Get("Referrer-Policy") != "no-referrer" || head.Get("X-Frame-Options") != "DENY" {
				t.Errorf("%s: %v", target, head)
			}
			if strings.HasPrefix(target, "/api") && head.Get("Cache-Control") != "no-store" {
				t.Errorf("%s may be kept", target)
			}
		}
	}
}

// TestWeight holds the promise that the console's own files weigh at most 40 KiB.
func TestWeight(t *testing.T) {
	total := 0
	for path, file := range assets() {
		if path != "/" {
			total += file.Weight()
		}
	}
	total += assets()["/"].Weight() - assets()[signInStyle].Weight() // the style is there twice
	if total > 40<<10 {
		t.Errorf("the files have %d octets when compressed; at most %d are allowed", total, 40<<10)
	}
	t.Logf("%d octets", total)
}

// TestANodeThatIsBehind takes nobody in: it may not know of a revocation.
func TestANodeThatIsBehind(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	cookie, link := n.signIn(allRoles), n.link(allRoles)
	s.set(errBehind, 0)
	if got := n.status("GET", "/api/site", cookie, ""); got != http.StatusServiceUnavailable {
		t.Errorf("a session: %d", got)
	}
	if got := n.status("GET", link, "", ""); got != http.StatusServiceUnavailable {
		t.Errorf("a link: %d", got)
	}
	if got := n.status("GET", "/api/site", "", ""); got != http.StatusUnauthorized {
		t.Errorf("nobody: %d", got)
	}
	s.set(nil, 0)
	if got := n.status("GET", link, "", ""); got != http.StatusOK {
		t.Errorf("the link later: %d", got)
	}
}

// TestANodeThatIsCutOff shows what it knows, and changes nothing.
func TestANodeThatIsCutOff(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	cookie := n.signIn(allRoles)
	s.set(nil, cutOffTimeout)
	if got := n.status("GET", "/api/site", cookie, ""); got != http.StatusOK {
		t.Errorf("the site: %d", got)
	}
	if got := n.status("POST", "/api/node/undrain", cookie, `{"node":"n1"}`); got != http.StatusServiceUnavailable {
		t.Errorf("an action: %d", got)
	}
	if !strings.Contains(s.logged(), "audit.what=ClusterService/Undrain audit.whom=\"\" audit.outcome=Unavailable audit.via=console") {
		t.Errorf("the audit log lacks it: %s", s.logged())
	}
}

// TestRefusedActionsAreRecorded once for many, and what only reads is not.
func TestRefusedActionsAreRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		cookie := n.signIn("presence:read")
		for range 3 {
			for _, request := range [][2]string{{"POST", "/api/user/disable"}, {"GET", "/api/users"}} {
				if got := n.status(request[0], request[1], cookie, `{"ima":"alice@example.com"}`); got != http.StatusForbidden {
					t.Errorf("%s %s: %d", request[0], request[1], got)
				}
			}
		}
		const want = "audit.who=olga audit.what=AccountService/Disable audit.whom=\"\" audit.outcome=PermissionDenied audit.via=console"
		if got := s.logged(); strings.Count(got, want) != 1 || strings.Contains(got, "AccountService/List") {
			t.Errorf("the log says: %s", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := s.logged(); !strings.Contains(got, `msg="more calls were refused" cause=PermissionDenied from="console olga" count=2`) {
			t.Errorf("a minute later the log says: %s", got)
		}
		s.set(errBehind, 0)
		if got := n.status("POST", "/api/user/disable", cookie, `{}`); got != http.StatusServiceUnavailable || !strings.Contains(s.logged(), "audit.outcome=Unavailable") {
			t.Errorf("while catching up: %d: %s", got, s.logged())
		}
	})
}
