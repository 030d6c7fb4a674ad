package store

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// groupOf makes a change: a group of n users, from number first on.
func groupOf(key string, first, n int, name string) *storev1.PutContactGroup {
	g := &storev1.ContactGroup{Source: "corp", Key: key, Name: key}
	for i := range n {
		g.Member = append(g.Member, &storev1.GroupMember{Address: fmt.Sprintf("user%06d@example.com", first+i), Name: name})
	}
	return &storev1.PutContactGroup{Group: g}
}

func TestContactGroupLimits(t *testing.T) {
	table := New(Config{})
	table.current.schema = NewestSchema
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		what string
		put  *storev1.PutContactGroup
		want Refusal
	}{
		{"as many members as may be", groupOf("a", 0, protocol.MaxGroupMembers, ""), None},
		{"one more", groupOf("a", 0, protocol.MaxGroupMembers+1, ""), Malformed},
		{"long names", groupOf("a", 0, 1, long), Malformed},
		{"names that take too much together", groupOf("a", 0, protocol.MaxGroupMembers, long[:protocol.MaxNote]), Malformed},
		{"a long key", groupOf(long+long, 0, 1, ""), Malformed},
	} {
		if r := table.putContactGroup(tt.put); r.Refusal != tt.want {
			t.Errorf("%s: %v %s", tt.what, r.Refusal, r.Detail)
		}
	}
	for i := 1; i < protocol.MaxContactGroups; i++ {
		table.putContactGroup(groupOf(fmt.Sprint("b", i), 0, 1, ""))
	}
	if r := table.putContactGroup(groupOf("one more", 0, 1, "")); r.Refusal != TooManyGroups {
		t.Errorf("one group more: %v %s", r.Refusal, r.Detail)
	}
	refused := 0
	for i := 1; i < protocol.MaxContactGroups && refused < 10; i++ {
		if r := table.putContactGroup(groupOf(fmt.Sprint("b", i), i*protocol.MaxGroupMembers, protocol.MaxGroupMembers, "")); r.Refusal == TooManyGroups {
			refused++
		}
	}
	octets := 0
	for _, g := range table.View().ContactGroups() {
		octets += g.octets()
	}
	if refused == 0 || octets != table.current.groupOctets || octets > protocol.MaxGroupOctets || octets < protocol.MaxGroupOctets-100_000 {
		t.Errorf("%d were refused; the groups take %d octets, and %d are counted", refused, octets, table.current.groupOctets)
	}
}

// A backup brings the groups back, from schema 5 on, and nothing remains of those
// before it.
func TestContactGroupsOfABackup(t *testing.T) {
	for schema, want := range map[uint32]int{NewestSchema: 1, contactGroupSchema - 1: 0} {
		table := New(Config{})
		table.current.schema = NewestSchema
		table.putContactGroup(groupOf("old", 1, 5, ""))
		table.current.schema = schema
		record := &storev1.Record{Kind: &storev1.Record_ContactGroup{ContactGroup: groupOf("new", 3, 5, "").Group}}
		if err := CheckBackupRecord(record); err != nil {
			t.Error(err)
		}
		if r := table.restoreAccounts(&storev1.RestoreAccounts{First: true, Last: true, Record: []*storev1.Record{record}}); r.Refusal != None {
			t.Errorf("%v %s", r.Refusal, r.Detail)
		}
		for user, groups := range map[string]int{"user000001@example.com": 0, "user000003@example.com": want, "user000007@example.com": want} {
			if got := table.ContactGroupsOf(protocol.CanonicalAddress(user)); len(got) != groups {
				t.Errorf("schema %d: %s is in %d groups", schema, user, len(got))
			}
		}
		if got := table.View().ContactGroups(); len(got) != want || table.current.groupOctets != want*groupOctets(got) {
			t.Errorf("schema %d: %d groups of %d octets", schema, len(got), table.current.groupOctets)
		}
	}
	record := &storev1.Record{Kind: &storev1.Record_ContactGroup{ContactGroup: &storev1.ContactGroup{Key: "x"}}}
	if err := CheckBackupRecord(record); err == nil || !strings.Contains(err.Error(), `the contact group "x"`) {
		t.Errorf("a group without members: %v", err)
	}
}

func groupOctets(groups []*ContactGroup) (n int) {
	for _, g := range groups {
		n += g.octets()
	}
	return n
}

// TestContactGroupMemory: 50,000 users in 5 groups each, with their names, take
// little, and the index forgets what is removed.
func TestContactGroupMemory(t *testing.T) {
	const users, groups, each = 50_000, 250, 1000
	table := New(Config{})
	table.current.schema = NewestSchema
	before := heap()
	for g := range groups {
		if r := table.putContactGroup(groupOf(fmt.Sprint("group ", g), g*each%users, each, "Some User")); r.Refusal != None {
			t.Fatal(r.Detail)
		}
	}
	took := heap() - before
	t.Logf("%d octets for each of %d users in %d groups", took/users, users, groups*each/users)
	if took > users*500 {
		t.Errorf("%d octets for each user", took/users)
	}
	if n := len(table.ContactGroupsOf(protocol.CanonicalAddress("user000500@example.com"))); n != groups*each/users {
		t.Errorf("a user is in %d groups", n)
	}
	for g := range groups {
		table.removeContactGroup(&storev1.RemoveContactGroup{Source: "corp", Key: fmt.Sprint("group ", g)})
	}
	if len(table.groupIndex.byUser) != 0 || table.current.groupOctets != 0 {
		t.Errorf("%d users and %d octets are left", len(table.groupIndex.byUser), table.current.groupOctets)
	}
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
