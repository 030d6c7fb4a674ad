package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestBlock(t *testing.T) {
	s := newSite(t)
	if r := s.do("", "block", "add", "@spam.example"); r.code != 1 || !strings.Contains(r.err, "the site is being upgraded") {
		t.Errorf("before the schema: %+v", r)
	}
	s.goOn()
	if got := s.ok("", "block", "add", "@SPAM.example", "--reason", "it sends \x1b[31mspam"); got != "@spam.example is blocked\n" {
		t.Errorf("got %q", got)
	}
	if got := s.ok("", "block", "add", "192.0.2.0/24", "--expires", "30d"); !strings.HasPrefix(got, "192.0.2.0/24 is blocked until 20") {
		t.Errorf("got %q", got)
	}
	list := s.ok("", "block", "list")
	for _, part := range []string{"TARGET", "@spam.example", "192.0.2.0/24", `\x1b[31mspam`} {
		if !strings.Contains(list, part) {
			t.Errorf("%q is not in\n%s", part, list)
		}
	}
	var got struct {
		Block []struct{ Target, Reason, Until string }
	}
	if err := json.Unmarshal([]byte(s.ok("", "block", "list", "--matching", "any@spam.example", "--output", "json")), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Block) != 1 || got.Block[0].Target != "@spam.example" || got.Block[0].Reason != "it sends \x1b[31mspam" {
		t.Errorf("got %+v", got)
	}
	if got := s.ok("", "block", "remove", "@spam.example"); got != "@spam.example is not blocked any more\n" {
		t.Errorf("got %q", got)
	}
	if r := s.do("", "block", "remove", "@spam.example"); r.code != 1 || !strings.Contains(r.err, "there is no block of @spam.example") {
		t.Errorf("removed twice: %+v", r)
	}
}

func TestBlockWantsWhatItSays(t *testing.T) {
	s := newSite(t)
	s.goOn()
	s.ok("", "block", "list") // the server runs: the commands below do not get as far
	for args, want := range map[string]string{
		"block add *": "invalid target *", "block add 192.0.2.1/24": "it would be 192.0.2.0/24", "block add": "whom to block",
		"block add @a.example --until tomorrow": "invalid --until", "block add @a.example --expires soon": "must be a duration",
		"block add @a.example --expires 1h --until 2099-01-01T00:00:00Z": "give one of them",
	} {
		if r := s.do("", strings.Fields(args)...); r.code != 2 || !strings.Contains(r.err, want) {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
