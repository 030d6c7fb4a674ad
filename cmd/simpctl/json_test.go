package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestJSONIsStable: results have the fields' names of the .proto files, all of
// them, with 64-bit numbers as strings, as the manual says.
func TestJSONIsStable(t *testing.T) {
	s := newSite(t)
	s.ok("secret", "account", "add", "alice@example.com", "--password-stdin")
	s.listen("alice@example.com", 1)
	for args, want := range map[string][]string{
		"status":           {"accounts", "answered_by", "domain", "health", "leader", "listeners", "node", "position", "schema", "site", "spare_voters", "summary"},
		"account list":     {"account", "next_page_token", "position"},
		"session list":     {"next_page_token", "position", "session"},
		"leader transfer":  {"leader"},
		"account import -": {"created", "position", "replaced", "unchanged"},
	} {
		var got map[string]any
		said := s.ok("bob@example.com,secret\n", append(strings.Fields(args), "--output", "json")...)
		if err := json.Unmarshal([]byte(said), &got); err != nil {
			t.Fatalf("%s: %v in %s", args, err, said)
		}
		for _, field := range want {
			if _, ok := got[field]; !ok {
				t.Errorf("%s: no field %s in %s", args, field, said)
			}
		}
		for _, field := range []string{"accounts", "listeners", "created"} {
			if v, ok := got[field]; ok {
				if _, isText := v.(string); !isText {
					t.Errorf("%s: %s is %v, not a string", args, field, v)
				}
			}
		}
	}
}
