package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// goOn raises the site to the newest schema.
func (s *testSite) goOn() {
	s.propose(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
}

func TestInvite(t *testing.T) {
	s := newSite(t)
	if r := s.do("", "invite"); r.code != 1 || !strings.Contains(r.err, "the site is being upgraded") {
		t.Errorf("before the schema: %+v", r)
	}
	s.goOn()
	got := s.ok("", "invite", "--uses", "30", "--expires", "14d", "--contact", "bob@example.com", "--link-base", "https://chat.example.com/")
	made := regexp.MustCompile(`^invitation (\d+) for example.com: 30 accounts, until \d{4}-\d\d-\d\d \d\d:\d\d

  link  https://chat.example.com/#join=([0-9a-z-]+)
  code  ([0-9a-z-]+)
$`).FindStringSubmatch(got)
	if made == nil || made[2] != made[3] || s.table.Invitation(protocol.HashInvitationCode(made[3])) == nil {
		t.Fatalf("got\n%s", got)
	}
	if got := s.ok("", "invite"); !strings.Contains(got, ": 1 account, until") || strings.Contains(got, "  link  ") || !strings.Contains(got, "simp join CODE") {
		t.Errorf("without an address of the web chat:\n%s", got)
	}
	var second struct {
		Invitation struct {
			ID   string `json:"id"`
			Uses int    `json:"uses"`
		} `json:"invitation"`
		Code string `json:"code"`
		Link string `json:"link"`
	}
	if err := json.Unmarshal([]byte(s.ok("", "invite", "--output", "json", "--link-base", "http://127.0.0.1:7468")), &second); err != nil {
		t.Fatal(err)
	}
	if second.Invitation.Uses != 1 || second.Link != "http://127.0.0.1:7468/#join="+second.Code {
		t.Errorf("got %+v", second)
	}
	list := s.ok("", "invite", "list")
	for _, part := range []string{"ID", "USED", made[1] + "  ", "0 of 30", "bob@example.com", second.Invitation.ID} {
		if !strings.Contains(list, part) {
			t.Errorf("%q is not in\n%s", part, list)
		}
	}
	if strings.Contains(list, second.Code) {
		t.Error("the list shows a code")
	}
	if got := s.ok("", "invite", "remove", made[1]); got != "the invitation "+made[1]+" is revoked\n" {
		t.Errorf("got %q", got)
	}
	if r := s.do("", "invite", "remove", made[1]); r.code != 1 || !strings.Contains(r.err, "there is no invitation "+made[1]) {
		t.Errorf("removed twice: %+v", r)
	}
}

func TestInviteWantsWhatItSays(t *testing.T) {
	s := newSite(t)
	s.goOn()
	s.ok("", "invite", "list") // the server runs: the commands below do not get as far
	for args, want := range map[string]string{
		"invite --uses 0":         "invalid --uses 0",
		"invite --uses 10001":     "must be 1 to 10000",
		"invite --expires soon":   "must be a duration such as 14d or 12h",
		"invite --contact bob":    "--contact: ",
		"invite --link-base chat": "must be the address of the web chat",
		"invite remove x":         "is not the id of an invitation",
		"invite lists":            "did you mean \"list\"?",
	} {
		r := s.do("", strings.Fields(args)...)
		if want != "" && (r.code != 2 || !strings.Contains(r.err, want)) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
