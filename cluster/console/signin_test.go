package console

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/api"
)

// TestTheCookie holds its attributes.
func TestTheCookie(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	r := n.do("GET", n.link(allRoles), "", "")
	set := r.Header.Get("Set-Cookie")
	for _, want := range []string{"__Host-", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Strict"} {
		if !strings.Contains(set, want) {
			t.Errorf("the cookie lacks %s: %s", want, set)
		}
	}
	for _, none := range []string{"Domain", "Max-Age", "Expires"} {
		if strings.Contains(set, none) {
			t.Errorf("the cookie has %s: %s", none, set)
		}
	}
}

// TestALinkSignsInOnce, whichever nodes are asked.
func TestALinkSignsInOnce(t *testing.T) {
	s := newTestSite(t, 2)
	link := s.nodes[0].link(allRoles)
	if got := s.nodes[1].status("GET", link, "", ""); got != http.StatusOK {
		t.Fatalf("the first time: %d", got)
	}
	for _, n := range s.nodes {
		if r := n.do("GET", link, "", ""); r.StatusCode != http.StatusForbidden || cookieOf(r) != "" {
			t.Errorf("again at %s: %d", n.id, r.StatusCode)
		}
	}
	if !strings.Contains(s.logged(), "audit.what=Console/SignIn audit.whom=n2 audit.outcome=OK") || !strings.Contains(s.logged(), "audit.outcome=PermissionDenied") {
		t.Errorf("the audit log says: %s", s.logged())
	}
	if token := strings.TrimPrefix(link, signInPath+"?token="); strings.Contains(s.logged(), token) {
		t.Error("the log has the token")
	}
}

// TestAnAttemptDoesNotUseTheLink: what is not a person who opens it leaves it as
// it is.
func TestAnAttemptDoesNotUseTheLink(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	link := n.link(allRoles)
	token := strings.TrimPrefix(link, signInPath+"?token=")
	for name, r := range map[string]*http.Response{
		"HEAD":                   n.do("HEAD", link, "", ""),
		"a prefetch":             n.do("GET", link, "", "", "Sec-Purpose", "prefetch;prerender"),
		"a link of another site": n.do("GET", link, "", "", "Sec-Fetch-Site", "cross-site"),
		"a form of another site": n.do("POST", signInPath, "", "token="+token, "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example"),
		"JSON":                   n.do("POST", signInPath, "", "token="+token),
		"another host":           n.do("GET", link, "", "", "Host", "evil.example"),
	} {
		if cookieOf(r) != "" {
			t.Errorf("%s signs in", name)
		}
	}
	form := func() *http.Response {
		return n.do("POST", signInPath, "", url.Values{"token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://n1.example.com:7475")
	}
	if r := form(); r.StatusCode != http.StatusOK || cookieOf(r) == "" {
		t.Errorf("the form of the page: %d", r.StatusCode)
	}
	if r := form(); r.StatusCode != http.StatusForbidden || cookieOf(r) != "" {
		t.Errorf("the form again: %d", r.StatusCode)
	}
}

// TestALinkLivesAMinute.
func TestALinkLivesAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestSite(t, 1).nodes[0]
		early, late := n.link(allRoles), n.link(allRoles)
		time.Sleep(59 * time.Second)
		if got := n.status("GET", early, "", ""); got != http.StatusOK {
			t.Errorf("after 59 s: %d", got)
		}
		time.Sleep(time.Second)
		if got := n.status("GET", late, "", ""); got != http.StatusForbidden {
			t.Errorf("after 60 s: %d", got)
		}
	})
}

// TestASessionEndsIdle: it ends 30 minutes after its last use, at whichever node
// that was.
func TestASessionEndsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 2)
		cookie := s.nodes[0].signIn(allRoles)
		for i := range 6 {
			time.Sleep(29 * time.Minute)
			r := s.nodes[i%2].do("GET", "/api/session", cookie, "")
			if r.StatusCode != http.StatusOK {
				t.Fatalf("use %d after 29 min: %d", i+1, r.StatusCode)
			}
			if cookie = cookieOf(r); cookie == "" {
				t.Fatal("the cookie was not made anew")
			}
		}
		if fresh := s.nodes[0].do("GET", "/api/session", cookie, ""); cookieOf(fresh) != "" {
			t.Error("a cookie that is seconds old was made anew")
		}
		time.Sleep(30 * time.Minute)
		for _, n := range s.nodes {
			if r := n.do("GET", "/api/session", cookie, ""); r.StatusCode != http.StatusUnauthorized || cookieOf(r) != "" {
				t.Errorf("after 30 idle minutes at %s: %d", n.id, r.StatusCode)
			}
		}
	})
}

// TestASessionEndsWithItsCredentials: the certificate or the token that made the
// link bounds the session, however much it is used.
func TestASessionEndsWithItsCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestSite(t, 1).nodes[0]
		link, _ := n.console.Keys.Link("", api.Identity{Name: "olga", Roles: []string{"cluster:read"}}, time.Now().Add(40*time.Minute))
		cookie := cookieOf(n.do("GET", link, "", ""))
		time.Sleep(20 * time.Minute)
		r := n.do("GET", "/api/session", cookie, "")
		if cookie = cookieOf(r); cookie == "" {
			t.Fatalf("after 20 min: %d", r.StatusCode)
		}
		time.Sleep(20 * time.Minute)
		if got := n.status("GET", "/api/session", cookie, ""); got != http.StatusUnauthorized {
			t.Errorf("after the end of the certificate: %d", got)
		}
	})
}

// TestRevocation ends sessions, links and hand-overs on all nodes, and nothing
// that is made later.
func TestRevocation(t *testing.T) {
	s := newTestSite(t, 2)
	cookie, link := s.nodes[0].signIn(allRoles), s.nodes[0].link(allRoles)
	over := s.nodes[0].console.handOver(&ticket{name: "olga", roles: []string{"cluster:read"}}, "n2", "")
	s.revoke()
	for _, n := range s.nodes {
		if got := n.status("GET", "/api/site", cookie, ""); got != http.StatusUnauthorized {
			t.Errorf("the session at %s: %d", n.id, got)
		}
		for _, old := range []string{link, over} {
			if r := n.do("GET", old, "", ""); r.StatusCode != http.StatusForbidden || cookieOf(r) != "" {
				t.Errorf("an old link at %s: %d", n.id, r.StatusCode)
			}
		}
	}
	later := s.nodes[1].signIn(allRoles)
	if got := s.nodes[0].status("GET", "/api/site", later, ""); got != http.StatusOK {
		t.Errorf("a later session: %d", got)
	}
}

// TestARevocationStopsWhoHasADisk: what a node's disk held before a revocation
// does not make the key of sessions after it, whatever generation is guessed.
func TestARevocationStopsWhoHasADisk(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	stolen := s.table.Secret() // with the console's record of that time
	_, old := s.table.ConsoleKey()
	forge := func(generation uint64) string {
		thief := NewKeys(func() []byte { return stolen }, func() (uint64, []byte) { return generation, old })
		return thief.seal(&ticket{kind: sessionTicket, id: newID(), made: time.Now(), name: "thief", roles: []string{"cluster:admin"}})
	}
	if got := n.status("GET", "/api/site", forge(0), ""); got != http.StatusOK {
		t.Fatalf("before the revocation: %d; this test forges wrongly", got)
	}
	s.revoke()
	for generation := range uint64(4) {
		if got := n.status("GET", "/api/site", forge(generation), ""); got != http.StatusUnauthorized {
			t.Errorf("a session forged for generation %d: %d", generation, got)
		}
	}
	if strings.Contains(s.logged(), "thief") {
		t.Error("the audit log names whoever a forged ticket names")
	}
}

// TestSessionFixation: what a browser brings along does not become a session.
func TestSessionFixation(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	evil := n.signIn("message:send")
	r := n.do("GET", n.link(allRoles), evil, "")
	mine := cookieOf(r)
	if r.StatusCode != http.StatusOK || mine == "" || mine == evil {
		t.Fatalf("signing in with another's cookie: %d", r.StatusCode)
	}
	if got := n.status("GET", "/api/site", evil, ""); got != http.StatusForbidden {
		t.Errorf("the cookie that was there before: %d", got)
	}
	if other := cookieOf(n.do("GET", n.link(allRoles), "", "")); other == mine {
		t.Error("two sessions have the same cookie")
	}
	both := cookieName + "=" + evil + "; " + cookieName + "=" + mine
	if got := n.status("GET", "/api/session", "", "", "Cookie", both); got != http.StatusUnauthorized {
		t.Errorf("two cookies of the name: %d", got)
	}
}

// TestTicketsOfOtherKinds: a token is no cookie, a cookie is no token, and a
// hand-over is for one node.
func TestTicketsOfOtherKinds(t *testing.T) {
	s := newTestSite(t, 2)
	n := s.nodes[0]
	cookie := n.signIn(allRoles)
	token := strings.TrimPrefix(n.link(allRoles), signInPath+"?token=")
	if got := n.status("GET", "/api/site", token, ""); got != http.StatusUnauthorized {
		t.Errorf("the token of a link as a cookie: %d", got)
	}
	if got := n.status("GET", signInPath+"?token="+cookie, "", ""); got != http.StatusForbidden {
		t.Errorf("a cookie as a token: %d", got)
	}
	over := n.console.handOver(&ticket{name: "olga", roles: []string{"cluster:read"}}, "n2", "")
	if got := n.status("GET", over, "", ""); got != http.StatusForbidden {
		t.Errorf("a hand-over to another node: %d", got)
	}
	if got := s.nodes[1].status("GET", over, "", ""); got != http.StatusOK {
		t.Errorf("a hand-over: %d", got)
	}
	if got := s.nodes[1].status("GET", over, "", ""); got != http.StatusForbidden {
		t.Errorf("a hand-over again: %d", got)
	}
}

// TestAlteredTickets: no octet of a ticket can be another.
func TestAlteredTickets(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	cookie := n.signIn(allRoles)
	for i := range cookie {
		for _, c := range []byte{'A', 'B', '_'} {
			b := []byte(cookie)
			if b[i] == c {
				continue
			}
			b[i] = c
			if _, err := n.console.Keys.open(string(b), sessionTicket); err == nil {
				t.Fatalf("octet %d may be %q", i, c)
			}
		}
	}
	for _, text := range []string{"", "=", cookie + "A", cookie + "==", cookie[:len(cookie)-1], strings.Repeat("A", maxTicket+1)} {
		if _, err := n.console.Keys.open(text, sessionTicket); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	other := NewKeys(func() []byte { return []byte("another site") }, func() (uint64, []byte) { return 0, nil })
	if _, err := other.open(cookie, sessionTicket); err == nil {
		t.Error("another site takes it")
	}
	none := NewKeys(func() []byte { return nil }, func() (uint64, []byte) { return 0, nil })
	forged := none.seal(&ticket{kind: sessionTicket, made: time.Now(), name: "olga"})
	if _, err := none.open(forged, sessionTicket); err == nil {
		t.Error("a node without a site takes what anybody can sign")
	}
}

// TestSignedOut: the browser forgets.
func TestSignedOut(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	r := n.do("POST", "/api/signout", n.signIn(allRoles), "{}")
	if set := r.Header.Get("Set-Cookie"); r.StatusCode != http.StatusOK || !strings.Contains(set, "Max-Age=0") {
		t.Errorf("%d %q", r.StatusCode, set)
	}
}

// TestAStrangerIsToldHow to sign in.
func TestAStrangerIsToldHow(t *testing.T) {
	n := newTestSite(t, 1).nodes[0]
	r := n.do("GET", "/", "", "", "Accept", "text/html,*/*")
	body, _ := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), "simpctl console") || !strings.Contains(string(body), `<html lang="en">`) {
		t.Errorf("%d %s", r.StatusCode, body)
	}
	if strings.Contains(string(body), "<script") || strings.Contains(string(body), " style=") {
		t.Error("the page has a script or a style of its own")
	}
	hostile, _ := n.console.Keys.Link("", api.Identity{Name: `<script>alert(1)</script>`, Roles: []string{"cluster:read"}}, time.Time{})
	r = n.do("GET", hostile, "", "", "Sec-Fetch-Site", "cross-site")
	if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "<script") || !strings.Contains(string(body), "Continue on n1") {
		t.Errorf("the name of a certificate becomes a part of the page: %s", body)
	}
}

// FuzzTicket: whatever comes is refused, not taken.
func FuzzTicket(f *testing.F) {
	k := NewKeys(func() []byte { return []byte("secret") }, func() (uint64, []byte) { return 3, []byte("new") })
	f.Add((&ticket{kind: sessionTicket, name: "olga", roles: []string{"cluster:read"}, made: time.Unix(1_800_000_000, 0)}).encode())
	f.Add([]byte{1, 's'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if found, err := decodeTicket(b); err == nil && len(found.encode()) > 2*len(b)+64 {
			t.Errorf("%x becomes %+v", b, found)
		}
		if _, err := k.open(string(b), sessionTicket); err == nil {
			t.Errorf("%x is taken", b)
		}
	})
}
