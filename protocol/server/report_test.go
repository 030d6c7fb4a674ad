package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
)

func (u *siteUser) Report(ctx context.Context, r protocol.Report) error {
	if asksMute([]protocol.Address{r.About}) {
		awaitMute(ctx)
	}
	u.site.mu.Lock()
	defer u.site.mu.Unlock()
	u.site.reports = append(u.site.reports, r)
	return nil
}

func TestReport(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice := s.login("alice")
		for request, want := range map[string]string{
			"REPORT ima=bob@example.com reason=spam :he sends advertisements":                          "200",
			"REPORT ima=Bob@EXAMPLE.com reason=abuse id=m1":                                            "200",
			"REPORT ima=eve@two.example reason=other id=m1 {7}\r\n\r\nhello":                           "200",
			"REPORT ima=bob@example.com":                                                               "400 :",
			"REPORT ima=bob@example.com reason=boredom":                                                "400 :",
			"REPORT reason=spam":                                                                       "400 :",
			"REPORT ima=bob@example.com ima=eve@two.example reason=spam":                               "400 :",
			"REPORT ima=bob reason=spam":                                                               "400 :",
			"REPORT ima=bob@example.com reason=spam id=a/b":                                            "400 :",
			"REPORT ima=bob@example.com reason=spam :" + strings.Repeat("x", protocol.MaxReportText+1): "413 :",
		} {
			alice.send("1 %s", request)
			if got := alice.line(); !strings.HasPrefix(got, "1 "+want) {
				t.Errorf("%.60s: %s, want %s", request, got, want)
			}
		}
		if n := len(s.site.reports); n != 3 {
			t.Fatalf("%d reports", n)
		}
		for _, r := range s.site.reports {
			got := fmt.Sprintf("%s %s %s %s %q %q", r.By, r.About, r.Reason, r.ID, r.Text, r.Entity)
			switch r.Reason {
			case protocol.ReportSpam:
				wantString(t, got, `alice@example.com bob@example.com spam  "he sends advertisements" ""`)
			case protocol.ReportAbuse:
				wantString(t, got, `alice@example.com bob@example.com abuse m1 "" ""`)
			default:
				wantString(t, got, `alice@example.com eve@two.example other m1 "" "\r\nhello"`)
			}
		}
		for range 30 {
			alice.send("2 REPORT ima=bob@example.com reason=spam")
		}
		answered := map[string]int{}
		for range 30 {
			answered[strings.Fields(alice.line())[1]]++
		}
		if answered["200"] < 10 || answered["429"] < 5 {
			t.Errorf("many reports are answered %v", answered)
		}
		time.Sleep(time.Minute)
		alice.send("3 REPORT ima=bob@example.com reason=spam")
		alice.expect("3 200")
	})
}

func wantString(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
