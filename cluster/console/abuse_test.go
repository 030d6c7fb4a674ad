package console

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	storev1 "simpd/proto/simp/store/v1"
)

// report adds a report of alice's with that message, and returns its id.
func (s *testSite) report(reported, message string) uint64 {
	s.t.Helper()
	r := &storev1.Report{Reporter: "alice@example.com", Reported: reported, Reason: 1, Text: "help", Entity: []byte(message), Signature: 1}
	return s.apply(&storev1.Change{Kind: &storev1.Change_AddReport{AddReport: &storev1.AddReport{Report: r}}}).Report
}

// block adds an operators' block.
func (s *testSite) block(target string) {
	s.t.Helper()
	s.apply(&storev1.Change{Kind: &storev1.Change_AddBlock{AddBlock: &storev1.AddBlock{Block: &storev1.BlockEntry{Target: target}, By: "olga"}}})
}

// feed adds n blocks of a feed.
func (s *testSite) feed(name string, n int) {
	s.t.Helper()
	c := &storev1.ChangeFeed{Feed: name}
	for i := range n {
		c.Add = append(c.Add, &storev1.BlockEntry{Target: fmt.Sprintf("@d%06d.example", i), Reason: "listed"})
	}
	s.apply(&storev1.Change{Kind: &storev1.Change_ChangeFeed{ChangeFeed: c}})
}

func TestBlocksPageByPage(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	for _, feed := range []string{"one", "two"} {
		s.feed(feed, 60)
	}
	s.block("@spam.example")
	s.block("192.0.2.0/24")
	cookie := n.signIn("cluster:read")
	page := func(query string) (blocks []string, more bool) {
		t.Helper()
		var v struct {
			Blocks []struct{ Target, Feed, By string }
			More   bool
		}
		n.get("/api/blocks?"+query, cookie, &v)
		for _, b := range v.Blocks {
			blocks = append(blocks, strings.TrimSpace(b.Feed+" "+b.Target))
		}
		return blocks, v.More
	}
	first, more := page("")
	if len(first) != pageOfBlocks || !more || first[0] != "192.0.2.0/24" || first[1] != "@spam.example" || first[49] != "one @d000047.example" {
		t.Errorf("first page: %q, %v", first, more)
	}
	if second, more := page("after=@d000047.example&feed=one"); len(second) != pageOfBlocks || !more || second[0] != "one @d000048.example" || second[49] != "two @d000037.example" {
		t.Errorf("second page: %q, %v", second, more)
	}
	if last, more := page("after=@d000037.example&feed=two"); len(last) != 22 || more || last[21] != "two @d000059.example" {
		t.Errorf("last page: %q, %v", last, more)
	}
	if found, more := page("after=192.0.2.0/24"); len(found) != pageOfBlocks || !more || found[0] != "@spam.example" {
		t.Errorf("after an operators' block: %q", found)
	}
	if found, more := page("matching=eve@d000007.example"); strings.Join(found, ",") != "one @d000007.example,two @d000007.example" || more {
		t.Errorf("matching: %q, %v", found, more)
	}
	if found, _ := page("matching=192.0.2.9"); strings.Join(found, ",") != "192.0.2.0/24" {
		t.Errorf("matching an address: %q", found)
	}
	if got := n.status("GET", "/api/blocks?matching=nobody", cookie, ""); got != http.StatusBadRequest {
		t.Errorf("what can't be blocked: %d", got)
	}
}

func TestReportsNewestFirst(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	s.account("alice@example.com")
	var ids []string
	for i := range 70 {
		ids = append(ids, fmt.Sprint(s.report(fmt.Sprintf("spam%d@two.example", i%2), "\r\nbuy")))
	}
	cookie := n.signIn("cluster:read abuse:admin")
	page := func(query string) (found []string, more bool) {
		t.Helper()
		var v struct {
			Reports []struct{ ID, Entity string }
			More    bool
		}
		n.get("/api/reports?"+query, cookie, &v)
		for _, r := range v.Reports {
			if found = append(found, r.ID); r.Entity != "" {
				t.Error("the list tells messages")
			}
		}
		return found, v.More
	}
	first, more := page("")
	if len(first) != pageOfReports || !more || first[0] != ids[69] || first[49] != ids[20] {
		t.Errorf("first page: %q, %v", first, more)
	}
	if second, more := page("after=" + first[49]); len(second) != 20 || more || second[0] != ids[19] || second[19] != ids[0] {
		t.Errorf("second page: %q, %v", second, more)
	}
	if found, more := page("reported=SPAM1@two.example"); len(found) != 35 || more || found[0] != ids[69] || found[1] != ids[67] {
		t.Errorf("about one user: %q, %v", found, more)
	}
	if got := n.status("POST", "/api/report/resolve", cookie, `{"id":"`+ids[69]+`","resolution":"blocked"}`); got != http.StatusOK {
		t.Fatalf("resolving: %d", got)
	}
	if found, _ := page(""); found[0] != ids[68] {
		t.Errorf("after the newest was resolved, the first open one is %s", found[0])
	}
	if found, _ := page("all=yes"); found[0] != ids[69] {
		t.Errorf("the first of all is %s", found[0])
	}
	if want := "audit.who=olga audit.what=ReportService/Resolve audit.whom=\"report " + ids[69] + " about spam1@two.example\" audit.outcome=OK audit.via=console"; !strings.Contains(s.logged(), want) {
		t.Errorf("the audit log lacks %s:\n%s", want, s.logged())
	}
	if got := n.status("GET", "/api/reports?after=x", cookie, ""); got != http.StatusBadRequest {
		t.Errorf("after what is no id: %d", got)
	}
}

// TestAReportsMessage is shown to abuse:admin only: cluster:read sees the rest.
func TestAReportsMessage(t *testing.T) {
	s := newTestSite(t, 1)
	n := s.nodes[0]
	s.account("alice@example.com")
	const message = "Content-Type: text/html\r\n\r\n<img src=x onerror=alert(1)>\xff\u202e"
	other, id := s.report("eve@two.example", "\r\nother"), s.report("spam@two.example", message)
	type view struct {
		Report struct {
			ID, Reported, Entity, Evidence string
			Size                           int `json:"entity_size"`
		}
		Message bool
	}
	var v view
	n.get(fmt.Sprintf("/api/report?id=%d", id), n.signIn("abuse:admin"), &v)
	if got, _ := base64.StdEncoding.DecodeString(v.Report.Entity); !v.Message || string(got) != message || v.Report.Evidence != "EVIDENCE_UNSIGNED" {
		t.Errorf("abuse:admin sees %+v", v)
	}
	reader := n.signIn("cluster:read")
	for _, want := range []uint64{other, id} {
		v = view{}
		n.get(fmt.Sprintf("/api/report?id=%d", want), reader, &v)
		if v.Message || v.Report.Entity != "" || v.Report.ID != fmt.Sprint(want) || v.Report.Size == 0 {
			t.Errorf("cluster:read sees %+v", v)
		}
	}
	for _, cookie := range []string{reader, n.signIn("abuse:admin")} {
		for query, want := range map[string]int{"id=0": 404, "id=18446744073709551615": 404, "": 404, "id=x": 400, "id=-1": 400} {
			if got := n.status("GET", "/api/report?"+query, cookie, ""); got != want {
				t.Errorf("/api/report?%s: %d, want %d", query, got, want)
			}
		}
	}
}

// TestAbuseIsLive: a report, its resolution and a block are told within a second.
func TestAbuseIsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTestSite(t, 1)
		n := s.nodes[0]
		s.account("alice@example.com")
		id := s.report("eve@two.example", "")
		cookie := n.signIn(allRoles)
		reports, report, blocks := n.follow("/api/reports", cookie), n.follow(fmt.Sprintf("/api/report?id=%d", id), cookie), n.follow("/api/blocks", cookie)
		for _, f := range []*follower{reports, report, blocks} {
			time.Sleep(time.Millisecond)
			if got := f.take(); strings.Count(got, "data: {") != 1 {
				t.Fatalf("at first: %q", got)
			}
		}
		s.report("spam@two.example", "")
		s.block("@two.example")
		n.status("POST", "/api/report/resolve", cookie, fmt.Sprintf(`{"id":"%d","resolution":"warned"}`, id))
		time.Sleep(time.Second)
		if got := reports.take(); !strings.Contains(got, "spam@two.example") || strings.Contains(got, "eve@two.example") {
			t.Errorf("the reports: %q", got)
		}
		if got := report.take(); !strings.Contains(got, "warned") {
			t.Errorf("the report: %q", got)
		}
		if got := blocks.take(); !strings.Contains(got, "@two.example") {
			t.Errorf("the blocks: %q", got)
		}
	})
}

// BenchmarkAbuse measures the page with as many blocks and reports as there can
// be.
func BenchmarkAbuse(b *testing.B) {
	s := newTestSite(b, 1)
	n := s.nodes[0]
	s.account("alice@example.com")
	s.feed("one", 90_000)
	for i := range 10_000 {
		r := &storev1.Report{Reporter: fmt.Sprintf("user%d@two.example", i), Via: fmt.Sprintf("d%d.example", i/100), Reported: "spam@example.com", Reason: 1, Text: "help"}
		s.apply(&storev1.Change{Kind: &storev1.Change_AddReport{AddReport: &storev1.AddReport{Report: r}}})
	}
	cookie := n.signIn(allRoles)
	for _, path := range []string{
		"/api/blocks", "/api/blocks?after=@d050000.example&feed=one", "/api/blocks?matching=eve@d050000.example", "/api/blocks?matching=192.0.2.1",
		"/api/reports", "/api/reports?after=100", "/api/reports?reported=nobody@example.com",
	} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				if got := n.status(http.MethodGet, path, cookie, ""); got != http.StatusOK {
					b.Fatal(got)
				}
			}
		})
	}
}
