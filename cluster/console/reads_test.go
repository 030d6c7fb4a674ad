package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

func TestTheSession(t *testing.T) {
	n := newTestSite(t, 3).nodes[0]
	synced(n)
	var v sessionView
	n.get("/api/session", n.signIn("cluster:read"), &v)
	if v.Name != "olga" || v.Node != "n1" || v.Site != "example.com" || !v.May["/api/site"] || v.May["/api/user/kick"] || v.Version == "" {
		t.Errorf("%+v", v)
	}
	if len(v.Others) != 2 || !strings.HasPrefix(v.Others[0].Link, "https://n2.example.com:7475/signin?token=") {
		t.Fatalf("the other nodes: %+v", v.Others)
	}
	// At the same host, where the browser has the cookie, no token is needed.
	r := n.do("GET", "/api/session", n.signIn("cluster:read"), "", "Host", "n2.example.com:7475")
	if err := json.NewDecoder(r.Body).Decode(&v); err != nil || v.Others[0].Link != "https://n2.example.com:7475/" {
		t.Errorf("at the same host: %v %+v", err, v.Others)
	}
}

// synced waits until the node's sampler has looked once.
func synced(n *testNode) {
	_, changed := n.console.samples.view(0)
	if n.console.samples.status() == nil {
		<-changed
	}
}

func TestTheSite(t *testing.T) {
	n := newTestSite(t, 3).nodes[0]
	var v struct {
		Status struct {
			Site        string `json:"site"`
			SpareVoters int    `json:"spare_voters"`
			Node        []struct {
				ID string `json:"id"`
			} `json:"node"`
		} `json:"status"`
		Findings []struct{ About, What, Mend string } `json:"findings"`
	}
	n.get("/api/site", n.signIn("cluster:read"), &v)
	if v.Status.Site != "example.com" || len(v.Status.Node) != 3 || v.Status.SpareVoters != 1 {
		t.Errorf("%+v", v.Status)
	}
	if len(v.Findings) != 1 || v.Findings[0].Mend != "simpctl account add IMA" {
		t.Errorf("what doctor finds: %+v", v.Findings)
	}
}

func TestUsersPageByPage(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	for i := range 120 {
		s.account(fmt.Sprintf("user%03d@example.com", i))
	}
	s.account("zoe@example.com")
	s.listen("user007@example.com", 1)
	cookie := n.signIn("cluster:read")
	page := func(query string) (addresses []string, more bool, states []string) {
		var v struct {
			Users []struct {
				Account struct {
					IMA  string `json:"ima"`
					Salt string `json:"salt"`
				} `json:"account"`
				Presence *struct {
					State string `json:"state"`
				} `json:"presence"`
			} `json:"users"`
			More bool `json:"more"`
		}
		n.get("/api/users?"+query, cookie, &v)
		for _, u := range v.Users {
			addresses = append(addresses, u.Account.IMA)
			if u.Account.Salt != "" {
				t.Error("the page gets a salt")
			}
			if u.Presence != nil {
				states = append(states, u.Presence.State)
			}
		}
		return addresses, v.More, states
	}
	first, more, states := page("")
	if len(first) != pageOfUsers || !more || first[0] != "user000@example.com" || states[7] != "STATE_AVAILABLE" || states[8] != "STATE_DEAF" {
		t.Errorf("first page: %d, %v, %v", len(first), more, states)
	}
	second, more, _ := page("after=" + first[49])
	if second[0] != "user050@example.com" || !more {
		t.Errorf("second page: %s, %v", second[0], more)
	}
	if last, more, _ := page("after=user099@example.com"); len(last) != 21 || more || last[20] != "zoe@example.com" {
		t.Errorf("last page: %q, %v", last, more)
	}
	if found, more, _ := page("prefix=USER01"); len(found) != 10 || more || found[9] != "user019@example.com" {
		t.Errorf("by prefix: %q, %v", found, more)
	}
	if found, _, _ := page("prefix=user01&after=user017@example.com"); len(found) != 2 {
		t.Errorf("by prefix, after: %q", found)
	}
	if found, _, _ := page("prefix=nobody"); len(found) != 0 {
		t.Errorf("nobody: %q", found)
	}
	var v struct{ Users []map[string]json.RawMessage }
	n.get("/api/users", n.signIn("account:admin"), &v)
	if _, has := v.Users[0]["presence"]; has {
		t.Error("account:admin alone sees presence")
	}
}

func TestOneUser(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	s.account("alice@example.com")
	s.listen("alice@example.com", 1)
	var v struct {
		Account  struct{ IMA string }
		Presence struct{ State string }
		Sessions []struct{ Session struct{ ID, Client string } }
		Keys     []json.RawMessage
	}
	n.get("/api/user?ima=alice@example.com", n.signIn("cluster:read"), &v)
	if v.Account.IMA != "alice@example.com" || v.Presence.State != "STATE_AVAILABLE" || len(v.Sessions) != 1 || v.Sessions[0].Session.Client != "192.0.2.1:1" || v.Keys == nil {
		t.Errorf("%+v", v)
	}
	var less map[string]json.RawMessage
	n.get("/api/user?ima=alice@example.com", n.signIn("account:admin"), &less)
	if string(less["sessions"]) != "null" || less["presence"] != nil || less["account"] == nil {
		t.Errorf("account:admin alone sees %v", less)
	}
	s.account("carol@example.com")
	var none map[string]json.RawMessage
	n.get("/api/user?ima=carol@example.com", n.signIn("cluster:read"), &none)
	if string(none["sessions"]) != "[]" {
		t.Errorf("somebody without sessions: %s", none["sessions"])
	}
	if got := n.status("GET", "/api/user?ima=bob@example.com", n.signIn("cluster:read"), ""); got != http.StatusNotFound {
		t.Errorf("nobody: %d", got)
	}
}

// TestActions are done, and stand in the audit log with the name of whoever has
// signed in.
func TestActions(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	s.account("alice@example.com")
	cookie := n.signIn(allRoles)
	for _, tt := range []struct {
		path, body string
		status     int
		audit      string
	}{
		{"/api/user/disable", `{"ima":"alice@example.com"}`, 200, "audit.who=olga audit.what=AccountService/Disable audit.whom=alice@example.com audit.outcome=OK audit.via=console"},
		{"/api/user/enable", `{"ima":"alice@example.com"}`, 200, "audit.what=AccountService/Enable audit.whom=alice@example.com audit.outcome=OK"},
		{"/api/user/disable", `{"ima":"nobody@example.com"}`, 404, "audit.whom=nobody@example.com audit.outcome=NotFound"},
		{"/api/user/kick", `{"ima":"alice@example.com"}`, 200, "audit.what=ClusterService/KickSession audit.whom=alice@example.com audit.outcome=OK"},
		{"/api/user/app/remove", `{"ima":"alice@example.com","id":"4"}`, 404, "audit.what=AccountService/RemoveAppPassword"},
		{"/api/user/key/revoke", `{"ima":"alice@example.com","id":"x"}`, 404, "audit.what=AccountService/RevokeKey"},
		{"/api/leader/transfer", `{"node":"n1"}`, 200, "audit.what=ClusterService/TransferLeadership audit.whom=n1 audit.outcome=OK"},
		{"/api/node/undrain", `{"node":"n1"}`, 200, "audit.what=ClusterService/Undrain audit.whom=n1 audit.outcome=OK"},
		{"/api/domain/check", `{"domain":"two.example"}`, 200, ""},
		{"/api/block/add", `{"target":"@spam.example","reason":"spam","expires":"86400s"}`, 200, "audit.who=olga audit.what=BlockService/Add audit.whom=@spam.example audit.outcome=OK audit.via=console"},
		{"/api/block/add", `{"target":"nobody"}`, 400, "audit.what=BlockService/Add audit.whom=nobody audit.outcome=InvalidArgument"},
		{"/api/block/remove", `{"target":"@spam.example"}`, 200, "audit.what=BlockService/Remove audit.whom=@spam.example audit.outcome=OK"},
		{"/api/block/remove", `{"target":"@spam.example"}`, 404, "audit.what=BlockService/Remove audit.whom=@spam.example audit.outcome=NotFound"},
		{"/api/report/resolve", `{"id":"1","resolution":"blocked"}`, 404, `audit.what=ReportService/Resolve audit.whom="report 1" audit.outcome=NotFound`},
		{"/api/user/disable", `{"ima":`, 400, ""},
		{"/api/user/disable", `{"nothing":1}`, 400, ""},
		{"/api/user/disable", `{"ima":"` + strings.Repeat("a", maxBody) + `"}`, 400, ""},
	} {
		if got := n.status("POST", tt.path, cookie, tt.body); got != tt.status {
			t.Errorf("POST %s %.60s: %d, want %d", tt.path, tt.body, got, tt.status)
		}
		if !strings.Contains(s.logged(), tt.audit) {
			t.Errorf("%s: the audit log lacks %s:\n%s", tt.path, tt.audit, s.logged())
		}
	}
	var o Observed[AuditRecord]
	n.get("/api/audit", cookie, &o)
	if len(o.Found) < 8 || o.Found[0].Via != "console" || o.Found[len(o.Found)-1].What != "Console/SignIn" {
		t.Errorf("the page of the audit log: %+v", o.Found)
	}
}

// TestADrainGoesOn although nobody looks, and every page shows how far it is.
func TestADrainGoesOn(t *testing.T) {
	synctest.Test(t, testDrain)
}

func testDrain(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	cookie := n.signIn("cluster:admin")
	if got := n.status("POST", "/api/node/drain", cookie, `{"node":"n9"}`); got != http.StatusNotFound {
		t.Errorf("a node that there is not: %d", got)
	}
	if got := n.status("POST", "/api/node/drain", cookie, `{"node":"n1"}`); got != http.StatusOK {
		t.Fatalf("a drain: %d", got)
	}
	if got := n.status("POST", "/api/node/drain", cookie, `{"node":"n1"}`); got != http.StatusConflict {
		t.Errorf("a second one: %d", got)
	}
	var v siteView
	n.get("/api/site", cookie, &v)
	if p := v.Drains["n1"]; p.Total != 4 || p.Left != 3 || p.Done {
		t.Errorf("on its way: %+v", v.Drains)
	}
	if _, kept := v.Drains["n9"]; kept {
		t.Errorf("one that has not begun: %+v", v.Drains)
	}
	close(s.drained)
	synctest.Wait()
	if n.get("/api/site", cookie, &v); !v.Drains["n1"].Done {
		t.Errorf("at the end: %+v", v.Drains)
	}
	if !strings.Contains(s.logged(), "audit.what=ClusterService/Drain audit.whom=n1 audit.outcome=OK") {
		t.Errorf("the audit log says: %s", s.logged())
	}
	drained := func() bool {
		var v siteView
		n.get("/api/site", n.signIn("cluster:admin"), &v)
		_, shown := v.Drains["n1"]
		return shown
	}
	time.Sleep(showEnded - time.Minute)
	if !drained() {
		t.Error("a drain that has ended is not shown for some minutes")
	}
	time.Sleep(time.Minute)
	if drained() {
		t.Error("a drain that has ended is shown for ever")
	}
	cookie = n.signIn("cluster:admin")
	for range 2 { // the second time it is shown
		if got := n.status("POST", "/api/node/drain", cookie, `{"node":"n1"}`); got != http.StatusOK {
			t.Errorf("a later drain: %d", got)
		}
		synctest.Wait()
	}
	if got := n.status("POST", "/api/node/undrain", cookie, `{"node":"n1"}`); got != http.StatusOK || drained() {
		t.Errorf("after undrain: %d, shown: %v", got, drained())
	}
}

// TestDrainsThatNeverBegan do not keep others from beginning, nor do those that
// have ended.
func TestDrainsThatNeverBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		cookie := n.signIn("cluster:admin")
		for i := range 2 * maxDrains {
			s.mu.Lock()
			s.noNode = fmt.Sprint("x", i)
			s.mu.Unlock()
			if got := n.status("POST", "/api/node/drain", cookie, fmt.Sprintf(`{"node":"x%d"}`, i)); got != http.StatusNotFound {
				t.Fatalf("drain %d of a node that there is not: %d", i, got)
			}
		}
		for i := range maxDrains {
			if got := n.status("POST", "/api/node/drain", cookie, fmt.Sprintf(`{"node":"n%d"}`, i+100)); got != http.StatusOK {
				t.Fatalf("drain %d: %d", i, got)
			}
		}
		if got := n.status("POST", "/api/node/drain", cookie, `{"node":"n1"}`); got != http.StatusTooManyRequests {
			t.Errorf("one more than there is room for: %d", got)
		}
		close(s.drained)
		synctest.Wait()
		if got := n.status("POST", "/api/node/drain", cookie, `{"node":"n1"}`); got != http.StatusOK {
			t.Errorf("where all others have ended: %d", got)
		}
	})
}

// TestAPageIsLive: what changes is told within a second, and what does not is
// not told again.
func TestAPageIsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		f := n.follow("/api/users", n.signIn("cluster:read"))
		time.Sleep(time.Millisecond)
		if got := f.take(); !strings.Contains(got, `"users":[]`) || !strings.HasPrefix(got, "retry: ") || f.head.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("at first: %q", got)
		}
		s.account("alice@example.com")
		time.Sleep(time.Second)
		if got := f.take(); strings.Count(got, "data: ") != 1 || !strings.Contains(got, "alice@example.com") {
			t.Errorf("after a change: %q", got)
		}
		time.Sleep(10 * time.Second)
		if got := f.take(); strings.Contains(got, "alice") || strings.Count(got, "event: beat") < 3 {
			t.Errorf("without one: %q", got)
		}
		f.end()
		synctest.Wait()
		if !f.hasEnded() {
			t.Error("the stream goes on without the browser")
		}
	})
}

// TestStreamsEnd with a revocation, with the idle time of the cookie that opened
// them, and with the node.
func TestStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		open := func() (all []*follower) {
			cookie := n.signIn(allRoles)
			for _, path := range []string{"/api/site", "/api/users", "/api/presence", "/api/messages", "/api/audit"} {
				all = append(all, n.follow(path, cookie))
			}
			time.Sleep(time.Second)
			for i, f := range all {
				if f.hasEnded() {
					t.Errorf("stream %d has ended at once: %s", i, f.take())
				}
			}
			return all
		}
		expect := func(all []*follower, why string) {
			synctest.Wait()
			for i, f := range all {
				if !f.hasEnded() {
					t.Errorf("%s: stream %d goes on", why, i)
				}
			}
		}
		idle := open()
		time.Sleep(idleTimeout)
		expect(idle, "idle")
		revoked := open()
		s.revoke()
		time.Sleep(time.Second)
		expect(revoked, "revoked")
		if got := revoked[0].take(); !strings.Contains(got, "event: end") {
			t.Errorf("the page is told %q", got)
		}
		closed := open()
		n.console.Close() // returns only when all have ended
		expect(closed, "closed")
	})
}

// TestStreamsAreBounded.
func TestStreamsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestSite(t, 1).nodes[0]
		cookie := n.signIn("cluster:read")
		for range maxStreams {
			n.follow("/api/messages", cookie)
		}
		synctest.Wait()
		more := n.follow("/api/messages", cookie)
		synctest.Wait()
		if !more.hasEnded() || more.code != http.StatusServiceUnavailable {
			t.Errorf("one more: %d", more.code)
		}
	})
}

// TestPresenceIsResumed: changes come with their index, and a browser that comes
// back gets each once.
func TestPresenceIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		for i := range 4 {
			s.account(fmt.Sprintf("user%d@example.com", i))
		}
		s.listen("user0@example.com", 1)
		cookie := n.signIn("presence:read")
		f := n.follow("/api/presence", cookie)
		time.Sleep(time.Second)
		if got := f.take(); !strings.Contains(got, "user0@example.com") || strings.Contains(got, "192.0.2.1") {
			t.Errorf("the history: %q", got)
		}
		s.listen("user1@example.com", 2)
		time.Sleep(time.Second)
		got := f.take()
		if !strings.Contains(got, "user1@example.com") || strings.Contains(got, "user0@example.com") {
			t.Fatalf("a change: %q", got)
		}
		id := ""
		for line := range strings.Lines(got) {
			if v, ok := strings.CutPrefix(line, "id: "); ok {
				id = strings.TrimSpace(v)
			}
		}
		if want := fmt.Sprintf("h1:%d", s.table.Index()); id != want {
			t.Errorf("the event's id is %q, want %q", id, want)
		}
		f.end()
		s.listen("user2@example.com", 3)
		again := n.follow("/api/presence", cookie, "Last-Event-ID", id)
		other := n.follow("/api/presence?match=USER3&after="+id, cookie)
		s.listen("user3@example.com", 4)
		time.Sleep(time.Second)
		if got := again.take(); strings.Count(got, "user2@example.com") != 1 || strings.Count(got, "user3@example.com") != 1 || strings.Contains(got, "user1@") {
			t.Errorf("resumed: %q", got)
		}
		if got := other.take(); !strings.Contains(got, "user3@example.com") || strings.Contains(got, "user2@") {
			t.Errorf("resumed, of one user: %q", got)
		}
		// A position that is not part of the history is no reason to show everybody.
		reset := n.follow("/api/presence", cookie, "Last-Event-ID", "other:1")
		time.Sleep(time.Second)
		if got := reset.take(); !strings.Contains(got, "event: reset") || strings.Contains(got, "@example.com") {
			t.Errorf("of another history: %q", got)
		}
	})
}

// TestARestoreIsTold: where the history ends, a page that follows it is told why
// before what comes next, also one that nothing was told yet.
func TestARestoreIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		s.account("alice@example.com")
		cookie := n.signIn("presence:read")
		quiet := n.follow("/api/presence", cookie)
		time.Sleep(time.Second)
		if got := quiet.take(); strings.Contains(got, "event: reset") {
			t.Errorf("a new page: %q", got)
		}
		for i := range 2 {
			s.apply(&storev1.Change{Kind: &storev1.Change_NewHistory{NewHistory: &storev1.NewHistory{
				History: fmt.Sprint("restored", i), Index: s.table.Index() + 10, KeepBindings: true,
			}}})
			time.Sleep(time.Second)
			if got := quiet.take(); strings.Count(got, "event: reset\ndata: {\"reason\":\"") != 1 {
				t.Errorf("restore %d: %q", i, got)
			}
			s.listen("alice@example.com", uint64(i+1))
			time.Sleep(time.Second)
			if got := quiet.take(); strings.Count(got, "alice@example.com") != 1 || strings.Contains(got, "event: reset") {
				t.Errorf("after restore %d: %q", i, got)
			}
		}
	})
}

// TestManyChangesAtOnce come in few events, the newest of them.
func TestManyChangesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		f := n.follow("/api/presence", n.signIn("presence:read"))
		time.Sleep(time.Second)
		f.take()
		s.account("alice@example.com")
		a, _ := s.table.Account(protocol.CanonicalAddress("alice@example.com"))
		session := &storev1.Session{Node: "n1", Epoch: s.epoch, Number: 1}
		var changes []*storev1.Change
		for i := range 1000 {
			note := fmt.Sprint(i)
			changes = append(changes, &storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
				Address: "alice@example.com", Session: session, Epoch: s.epoch, State: storev1.State_STATE_AVAILABLE, Note: note, Credential: a.Credential,
			}}})
		}
		if _, err := s.Propose(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		got := f.take()
		if strings.Count(got, "data: {") > 3 || !strings.Contains(got, `"skipped":700`) || !strings.Contains(got, `"note":"999"`) && !strings.Contains(got, `"note": "999"`) {
			t.Errorf("%d events: %.300s", strings.Count(got, "data: {"), got)
		}
	})
}

// TestRates counts what happened between two looks, over all nodes, also where a
// node was started anew meanwhile.
func TestRates(t *testing.T) {
	s := newSampler()
	at := time.Unix(1_800_000_000, 0)
	status := func(counts ...uint64) *simpv1.StatusResponse {
		r := &simpv1.StatusResponse{}
		for i, n := range counts {
			r.Node = append(r.Node, &simpv1.NodeStatus{
				Id: fmt.Sprint("n", i), State: simpv1.NodeState_NODE_STATE_READY, Started: timestamppb.New(at),
				Outcome: []*simpv1.OutcomeCount{{Status: 200, Count: n}, {Status: 503, Count: 2 * n}, {Status: 502, Count: n}, {Status: 413, Count: n}},
			})
		}
		return r
	}
	s.add(status(10, 100), at)
	s.add(status(14, 110), at.Add(2*time.Second))
	s.add(status(4, 110), at.Add(4*time.Second)) // n0 is new
	v, _ := s.view(0)
	for i, want := range []float64{0, 7, 2} {
		if r := v.Samples[i].Rates; r[0] != want || r[7] != 3*want || r[8] != want {
			t.Errorf("sample %d: %v, want %v delivered", i, r, want)
		}
	}
	if later, _ := s.view(v.Samples[1].TimeMs); len(later.Samples) != 1 {
		t.Errorf("after the second: %d samples", len(later.Samples))
	}
	for range maxSamples {
		s.add(status(4, 110), at.Add(6*time.Second))
	}
	if v, _ := s.view(0); len(v.Samples) != maxSamples {
		t.Errorf("%d samples are kept", len(v.Samples))
	}
	// What was silent for a while is spread over that time.
	s.add(status(24), at.Add(16*time.Second))
	v, _ = s.view(0)
	if r := v.Samples[maxSamples-1].Rates[0]; r != 2 {
		t.Errorf("after ten seconds: %v a second", r)
	}
}

func TestWords(t *testing.T) {
	for status, want := range map[uint32]string{200: "delivered", 201: "in doubt", 480: "not listening", 481: "not reading", 486: "refused", 404: "no such user", 429: "slow down", 502: "unreachable", 503: "unreachable", 504: "unreachable", 413: "other"} {
		if got := words[wordOf(status)]; got != want {
			t.Errorf("%d is %q, want %q", status, got, want)
		}
	}
}
