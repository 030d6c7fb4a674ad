package ldap

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"simpd/cluster/accounts"
	"simpd/cluster/accounts/ldap/ldaptest"
	"simpd/protocol"
)

var update = flag.Bool("update", false, "write the expected groups anew")

// TestGroupLayouts reads the groups of testdata/groups/*.ldif: layouts that users of
// other chat servers have had trouble with, each with a remark that says which. A
// line "# key: value" is a setting. The file .groups beside it lists what is found.
func TestGroupLayouts(t *testing.T) {
	files, _ := filepath.Glob("testdata/groups/*.ldif")
	if len(files) < 6 {
		t.Fatalf("%d layouts", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".ldif"), func(t *testing.T) {
			entries, settings := readLDIF(t, file)
			s, server := start(t, func(c *Config, v *ldaptest.Server) { applySettings(t, c, v, settings) })
			server.Set(entries...)
			got := describeGroups(t, s)
			expected := strings.TrimSuffix(file, ".ldif") + ".groups"
			if *update {
				if err := os.WriteFile(expected, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(expected)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// readLDIF reads entries as LDIF has them, without continued and encoded lines.
func readLDIF(t *testing.T, file string) (entries []ldaptest.Entry, settings map[string]string) {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	settings = map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, found := strings.Cut(lines.Text(), ": ")
		switch name, isSetting := strings.CutPrefix(key, "# "); {
		case !found:
		case isSetting && !strings.Contains(name, " "):
			settings[name] = value
		case isSetting:
		case key == "dn":
			entries = append(entries, ldaptest.Entry{DN: value, Attributes: map[string][]string{}})
		default:
			e := entries[len(entries)-1]
			e.Attributes[key] = append(e.Attributes[key], value)
		}
	}
	return entries, settings
}

func applySettings(t *testing.T, c *Config, v *ldaptest.Server, settings map[string]string) {
	for key, value := range settings {
		var err error
		switch key {
		case "base":
			c.Base = value
		case "filter":
			c.Filter = value
		case "address":
			c.Address, err = ParseMapping(value)
		case "groups_base":
			c.Groups.Base = value
		case "groups_filter":
			c.Groups.Filter = value
		case "groups_name":
			c.Groups.Name = value
		case "groups_members":
			c.Groups.Members = strings.Fields(value)
		case "groups_member_id":
			c.Groups.MemberID = value
		case "groups_of":
			c.Groups.Of = value
		case "groups_display_name":
			c.Groups.DisplayName = value
		case "max_values":
			_, err = fmt.Sscan(value, &v.MaxValues)
		default:
			t.Fatalf("no such setting: %s", key)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// describeGroups reads the groups, and describes them.
func describeGroups(t *testing.T, s *Source) string {
	t.Helper()
	found, err := s.FindGroups(t.Context())
	if err != nil {
		return fmt.Sprintf("error: %v\n", err)
	}
	var b strings.Builder
	for _, g := range found.Groups {
		fmt.Fprintf(&b, "%s (%s)\n", g.Name, g.Key)
		slices.SortFunc(g.Members, func(a, b accounts.GroupMember) int { return a.Addresses[0].Compare(b.Addresses[0]) })
		for _, m := range g.Members {
			fmt.Fprintf(&b, "    %v %s\n", m.Addresses, m.Name)
		}
	}
	for _, p := range found.Problems {
		fmt.Fprintf(&b, "problem: %s\n", p)
	}
	return b.String()
}

func group(name string, members ...string) ldaptest.Entry {
	return ldaptest.Entry{DN: "cn=" + name + ",ou=groups,dc=example,dc=com", Attributes: map[string][]string{
		"cn": {name}, "objectClass": {"groupOfNames"}, "member": members,
	}}
}

func withGroups(c *Config, _ *ldaptest.Server) { c.Groups.Base = "ou=groups,dc=example,dc=com" }

// Many users and groups are read page by page, and long member lists by range.
func TestPagesAndRanges(t *testing.T) {
	const users = 1300
	s, server := start(t, func(c *Config, v *ldaptest.Server) { withGroups(c, v); v.MaxValues = 150 })
	var entries []ldaptest.Entry
	var all []string
	for i := range users {
		p := person(fmt.Sprintf("u%04d", i), "x")
		entries = append(entries, p)
		all = append(all, p.DN)
	}
	for i := range 600 {
		entries = append(entries, group(fmt.Sprintf("g%03d", i), all[i], all[i+1]))
	}
	entries = append(entries, group("most", all[:protocol.MaxGroupMembers]...), group("all", all...), group("exact", all[:300]...))
	server.Set(entries...)
	found, err := s.FindGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int{}
	for _, g := range found.Groups {
		sizes[g.Name] = len(g.Members)
	}
	if len(sizes) != 602 || sizes["most"] != protocol.MaxGroupMembers || sizes["exact"] != 300 || sizes["g599"] != 2 {
		t.Errorf("%d groups; %v", len(sizes), sizes)
	}
	if len(found.Problems) != 1 || found.Problems[0] != `the group all (cn=all,ou=groups,dc=example,dc=com) is left out: it has more than 1000 members; exclude it with groups_filter` {
		t.Errorf("%q", found.Problems)
	}
	if found.MaxLeavers != 10 {
		t.Errorf("max_leavers is %d", found.MaxLeavers)
	}
}

// A directory that can't be asked, that shows no users, or none of the members,
// says nothing of groups.
func TestGroupsThatCannotBeRead(t *testing.T) {
	s, server := start(t, withGroups)
	dora := person("dora", "x")
	for text, entries := range map[string][]ldaptest.Entry{
		"no user's entry is found": {group("Sales", dora.DN)},
		"none of the members":      {dora, group("Sales", "uid=erik,"+base)},
		"":                         {dora, group("Sales", dora.DN, "uid=erik,"+base)},
	} {
		server.Set(entries...)
		found, err := s.FindGroups(t.Context())
		if (err == nil) != (text == "") || err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("want %q: %+v, %v", text, found, err)
		}
	}
	if s.pools[0].breaker.IsOpen() {
		t.Error("the server counts as failing, so nobody can log in")
	}
	server.FailSearches(4)
	if _, err := s.FindGroups(t.Context()); err == nil || !strings.Contains(err.Error(), "raise its size limit") {
		t.Errorf("too few entries: %v", err)
	}
	server.FailSearches(32)
	if _, err := s.FindGroups(t.Context()); err == nil || !strings.Contains(err.Error(), "searching below ou=groups,dc=example,dc=com") {
		t.Errorf("no such base: %v", err)
	}
	server.Stop()
	if _, err := s.FindGroups(t.Context()); err == nil {
		t.Error("a directory that is down has groups")
	}
}

// Idle connections that the server has closed are no failure, and the second
// server is asked if the first one is down.
func TestGroupsWithFailover(t *testing.T) {
	s, server := start(t, func(c *Config, v *ldaptest.Server) { withGroups(c, v); c.Servers = []string{"ldap://127.0.0.1:1"} })
	dora := person("dora", "x")
	server.Set(dora, group("Sales", dora.DN))
	for range 2 {
		if got := describeGroups(t, s); !strings.Contains(got, "[dora@example.com]") {
			t.Error(got)
		}
		server.CloseConnections()
	}
}

func TestGroupConfig(t *testing.T) {
	s, _ := start(t, nil)
	if s.GroupInterval() != 0 {
		t.Error("groups are read without being asked for")
	}
	s, _ = start(t, withGroups)
	if s.GroupInterval() != DefaultGroupInterval {
		t.Errorf("groups are read every %v", s.GroupInterval())
	}
	s, _ = start(t, func(c *Config, _ *ldaptest.Server) { c.Groups = GroupConfig{Of: "memberOf", Interval: time.Minute} })
	if s.GroupInterval() != time.Minute {
		t.Errorf("groups are read every %v", s.GroupInterval())
	}
	if _, err := New(Config{Servers: []string{"ldaps://x"}, BindTemplate: "uid={local},dc=x", Groups: GroupConfig{Of: "memberOf"}}); err == nil || !strings.Contains(err.Error(), "groups need base") {
		t.Errorf("groups without a base: %v", err)
	}
}

func TestNormalDN(t *testing.T) {
	for _, equal := range [][]string{
		{"CN=Andrea Garcia,CN=Users,DC=testserver,DC=lan", "cn=andrea  garcia, cn=users , dc=testserver,dc=lan"},
		{`cn=Garcia\, Andrea,ou=x`, `CN=garcia\2C Andrea,OU=X`, `cn=Garcia\,  Andrea , ou=x`},
		{`cn=Zoë,o=x`, `cn=Zo\C3\AB,o=x`, `CN=ZOË,O=x`},
		{`cn=a+uid=b,o=x`, `UID=B+CN=A,o=x`},
		{`cn=\#1 \"quoted\" \<x\>\;\\,o=x`, `cn=\231 \22quoted\22 \3cx\3E\3b\5C,o=x`},
		{`uid=u,o=x`, `uid=u,o=x#'0101'B`},
		{`cn=\ x\ ,o=y`, `cn=x,o=y`},
	} {
		first, ok := normalDN(equal[0])
		for _, s := range equal {
			if got, fine := normalDN(s); got != first || !fine || !ok {
				t.Errorf("%s: %s, want %s", s, got, first)
			}
		}
	}
	for _, s := range []string{"", "user1", "Sales", "=", "cn=x,", `cn=x\`} {
		if got, ok := normalDN(s); ok {
			t.Errorf("%q is taken for %s", s, got)
		}
	}
	if got := firstValue(`CN=Sales\, North,OU=Groups`); got != "Sales, North" {
		t.Errorf("%q", got)
	}
}

// Reading groups is never the query that tries a failing server, and a reading that
// takes too long keeps no login away.
func TestGroupsLeaveTheServerToLogins(t *testing.T) {
	s, server := start(t, withGroups)
	b := &s.pools[0].breaker
	b.Done(true, time.Now().Add(-time.Minute)) // so it may be tried by now
	if _, err := s.FindGroups(t.Context()); err == nil || !b.IsOpen() {
		t.Errorf("groups try a failing server: %v", err)
	}
	if ok, _ := b.Allow(time.Now()); !ok {
		t.Error("a login can't try the server")
	}
	b.Done(false, time.Now())
	server.Hang(true)
	ctx, cancel := context.WithTimeout(t.Context(), s.fairTime())
	defer cancel()
	if _, err := s.FindGroups(ctx); err == nil || b.IsOpen() {
		t.Errorf("a slow reading: %v; the server fails: %v", err, b.IsOpen())
	}
}
