package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	simpv1 "simpd/proto/simp/v1"
)

// fakeRspamd answers as the body of the message says.
func fakeRspamd(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodPost || r.URL.Path != "/checkv2" || r.Header.Get("From") != "eve@two.example" || r.Header.Get("Rcpt") != "bob@example.com" {
		http.Error(w, "not what rspamd is asked", http.StatusBadRequest)
		return
	}
	if string(body) == "broken" {
		http.Error(w, "broken", http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, `{"is_skipped":false,"score":7.5,"required_score":15,"action":%q,"symbols":{}}`, body)
}

func TestWhatRspamdSaysIsTold(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(fakeRspamd))
	defer s.Close()
	p := &policy{url: s.URL + "/checkv2", client: s.Client()}
	for action, want := range map[string]simpv1.Verdict{
		"no action": simpv1.Verdict_VERDICT_PASS, "add header": simpv1.Verdict_VERDICT_PASS,
		"greylist": simpv1.Verdict_VERDICT_SLOW_DOWN, "soft reject": simpv1.Verdict_VERDICT_SLOW_DOWN,
		"reject": simpv1.Verdict_VERDICT_NOT_LISTENING, "something new": 0, "broken": 0,
	} {
		r, err := p.Check(t.Context(), &simpv1.CheckRequest{From: "eve@two.example", To: "bob@example.com", Entity: []byte(action)})
		if r.GetVerdict() != want || (err != nil) != (want == 0) {
			t.Errorf("%s: %v, %v", action, r, err)
		}
	}
	s.Close()
	if _, err := p.Check(t.Context(), &simpv1.CheckRequest{From: "eve@two.example", To: "bob@example.com"}); err == nil {
		t.Error("a verdict without rspamd")
	}
}
