package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/accounts"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// newGroupSite starts a site of two nodes, of which n1 leads and reads the groups
// of a directory.
func newGroupSite(t *testing.T) (*site, *directorySource) {
	s, d := newSourceSite(t, []string{"table", "corp"}, "n1", "n2")
	s.raiseSchema()
	n := s.nodes["n1"]
	n.config.Leads = always
	n.running.Go(n.syncContactGroups)
	return s, d
}

// pass lets the leader read the groups, and all who watch be told.
func pass() {
	time.Sleep(time.Minute + 2*time.Second)
	synctest.Wait()
}

// contactList returns a user's contacts as strings.
func (c *client) contactList() (all []string) {
	contacts, partial := c.Contacts()
	for _, one := range contacts {
		all = append(all, fmt.Sprintf("%s %s %s", one.Address.Local(), one.Name, one.Group))
	}
	if partial {
		all = append(all, "partial")
	}
	return all
}

func wantList(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// watchContacts watches a user's contacts, and returns what the 100 lines said.
func (c *client) watchContacts(t *testing.T) (lines []string) {
	t.Helper()
	err := c.Watch(t.Context(), protocol.WatchRequest{Contacts: true}, func(at []protocol.Notice, _ uint64) {
		for _, n := range at {
			lines = append(lines, fmt.Sprintf("%s %s", n.Address.Local(), n.State))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// Members of a group are contacts of one another on all nodes, marked by the
// group, beside those that a user has added. They can't be removed.
func TestContactsOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newGroupSite(t)
		d.set(func() {
			d.groups = map[string][]string{"Sales": {"alice", "bob", "dora"}, "Ops": {"alice", "carol"}, "Zebra": {"alice", "carol", "bob"}}
		})
		alice, dora := s.login("alice", "n2"), s.login("carol", "n1")
		if err := alice.SetContact(t.Context(), protocol.Contact{Address: addr("bob@example.com"), Name: "Bobby"}); err != nil {
			t.Fatal(err)
		}
		if err := alice.SetContact(t.Context(), protocol.Contact{Address: addr("eve@example.org")}); err != nil {
			t.Fatal(err)
		}
		pass()
		wantList(t, "alice", alice.contactList(), "bob Bobby Sales", "carol CAROL Ops", "dora DORA Sales", "eve  ")
		wantList(t, "carol", dora.contactList(), "alice ALICE Ops", "bob BOB Zebra")
		err := alice.RemoveContact(t.Context(), addr("carol@example.com"))
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Status != protocol.StatusForbidden || !strings.Contains(e.Text, `through the group Ops of the directory, and can't be removed`) {
			t.Errorf("removing a contact of a group: %v", err)
		}
		for _, name := range []string{"bob@example.com", "eve@example.org", "nobody@example.com"} {
			if err := alice.RemoveContact(t.Context(), addr(name)); err != nil {
				t.Errorf("removing %s: %v", name, err)
			}
		}
		wantList(t, "alice", alice.contactList(), "bob BOB Sales", "carol CAROL Ops", "dora DORA Sales")
		d.set(func() { delete(d.groups, "Ops"); d.groups["Zebra"] = []string{"carol"} })
		pass()
		wantList(t, "alice", alice.contactList(), "bob BOB Sales", "dora DORA Sales")
	})
}

// WATCH contacts=yes follows the groups: who comes is shown, and who goes is not
// watched any more, unless they are watched for another reason.
func TestWatchesFollowGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newGroupSite(t)
		d.set(func() { d.groups = map[string][]string{"Sales": {"alice", "bob"}} })
		pass()
		alice, old := s.login("alice", "n2"), s.login("alice", "n2")
		old.old = true
		for _, c := range []*client{alice, old} {
			wantList(t, "WATCH", c.watchContacts(t), "bob deaf")
		}
		carol := s.listen("carol", "n1")
		d.set(func() { d.groups["Sales"] = []string{"alice", "bob", "carol"} })
		pass()
		wantList(t, "somebody comes", alice.heard(), "contact carol Sales CAROL", "carol available ")
		wantList(t, "somebody comes, by SIMP/1.0", old.heard(), "carol available ")
		d.set(func() { d.groups = map[string][]string{"Ops": {"alice", "carol", "bob"}} })
		pass()
		wantList(t, "another group", alice.heard(), "contact bob Ops BOB", "contact carol Ops CAROL")
		wantList(t, "another group, by SIMP/1.0", old.heard())
		wantList(t, "WATCH of one of them", alice.watch(t, "bob"), "bob deaf")
		d.set(func() { d.groups = map[string][]string{"Ops": {"alice", "zoe"}} })
		pass()
		wantList(t, "both go", alice.heard(), "contact zoe Ops ZOE", "zoe deaf ", "contact bob  ", "contact carol  ")
		wantList(t, "both go, by SIMP/1.0", old.heard(), "zoe deaf ")
		s.listen("bob", "n1")
		if _, err := carol.SetState(t.Context(), protocol.Busy, nil); err != nil {
			t.Fatal(err)
		}
		wantList(t, "afterwards", alice.heard(), "bob available ")
		wantList(t, "afterwards, by SIMP/1.0", old.heard(), "bob available ", "carol busy ")
		alice.Unwatch(protocol.WatchRequest{})
		old.Close()
		d.set(func() { d.groups["Ops"] = []string{"alice", "bob"} })
		pass()
		wantList(t, "after UNWATCH", alice.heard())
		wantList(t, "after the end", old.heard())
		if n := s.nodes["n2"].hub.watchCount; n != 0 {
			t.Errorf("%d watches are left", n)
		}
	})
}

// Who is added by the user keeps the watch when the group goes. A user of a group
// that fills the list is shown as much as there may be.
func TestOwnContactsAndLargeGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newGroupSite(t)
		alice := s.login("alice", "n2")
		members := []string{"alice", "bob"}
		for i := range protocol.MaxGroupMembers - 2 {
			members = append(members, fmt.Sprintf("u%03d", i))
		}
		d.set(func() {
			d.groups = map[string][]string{"Large": members, "Other": {"alice", "zoe", "zora"}, "Too large": append(members, "zoe")}
		})
		pass()
		contacts, partial := alice.Contacts()
		if len(contacts) != protocol.MaxContacts || !partial {
			t.Errorf("%d contacts, partial: %v", len(contacts), partial)
		}
		if problems := s.nodes["n1"].groupSync.allProblems(); len(problems) != 1 || !strings.Contains(problems[0], `the group "Too large" (cn=Too large) has too many addresses: at most 1000`) {
			t.Errorf("%q", problems)
		}
		alice.watchContacts(t)
		if err := alice.SetContact(t.Context(), protocol.Contact{Address: addr("bob@example.com")}); err != nil {
			t.Fatal(err)
		}
		d.set(func() { delete(d.groups, "Large") })
		pass()
		alice.heard()
		s.listen("bob", "n1")
		wantList(t, "a contact of one's own", alice.heard(), "bob available ")
		if n := s.nodes["n2"].hub.watchCount; n > 3 {
			t.Errorf("%d watches are left", n)
		}
	})
}

// A directory that is down, or empty all at once, changes nothing; nor does one
// that misses many groups. An operator is told.
func TestGroupsOfABrokenDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newGroupSite(t)
		d.set(func() {
			d.groups, d.problems = map[string][]string{"Sales": {"alice", "bob"}}, []string{"the group X is left out"}
		})
		alice, n := s.login("alice", "n2"), s.nodes["n1"]
		pass()
		expect := func(what, problem string, list ...string) {
			t.Helper()
			wantList(t, what, alice.contactList(), list...)
			if problems := n.SourceProblems(); len(problems) != min(1, len(problem)) || problem != "" && !strings.Contains(problems[0], problem) {
				t.Errorf("%s: %q", what, problems)
			}
		}
		expect("at first", "the group X is left out", "bob BOB Sales")
		d.set(func() { d.broken, d.problems = errors.New("connection refused"), nil })
		time.Sleep(10 * time.Minute)
		expect("down", "could not be read, and stay as they were: the account source corp can't be asked now: connection refused", "bob BOB Sales")
		kept := d.groups
		d.set(func() { d.broken, d.groups = nil, nil })
		time.Sleep(soonPause)
		synctest.Wait()
		expect("empty", "has no groups any more", "bob BOB Sales")
		d.set(func() { d.groups = kept })
		pass()
		expect("back", "", "bob BOB Sales")
		many := map[string][]string{"Sales": {"alice", "bob"}, "Other": {"alice", "carol"}}
		for i := range fewGroups + 1 {
			many[fmt.Sprint("G", i)] = []string{"alice", "dora"}
		}
		d.set(func() { d.groups = many })
		pass()
		d.set(func() { d.groups = map[string][]string{"Other": {"alice", "carol"}, "New": {"alice", "zoe"}} })
		pass()
		expect("many are missing", "12 of the 13 groups", "bob BOB Sales", "carol CAROL Other", "dora DORA G0", "zoe ZOE New")
		d.set(func() { d.groups = nil })
		pass()
		pass()
		expect("all are missing for good", "14 of the 14 groups", "bob BOB Sales", "carol CAROL Other", "dora DORA G0", "zoe ZOE New")
		m := n.config.Sources.Metrics()[0]
		if m.GroupsRead.Load() == 0 || m.GroupsFailed.Load() == 0 {
			t.Errorf("%d readings and %d failures are counted", m.GroupsRead.Load(), m.GroupsFailed.Load())
		}
	})
}

// Groups of a source that has none any more by the configuration disappear, and a
// node that does not lead, or whose site has an older node, reads none.
func TestGroupsFollowTheConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{"table", "corp"}, "n1")
		var leads atomic.Bool
		n := s.nodes["n1"]
		n.config.Leads = leads.Load
		n.running.Go(n.syncContactGroups)
		d.set(func() {
			d.groups = map[string][]string{"Sales": {"alice", "bob/bob.b", "dora/d.d"}, "Foreign": {"alice"}}
		})
		leads.Store(true)
		pass() // the schema is an old one
		leads.Store(false)
		s.raiseSchema()
		pass()
		if n.config.Table.Index() != s.nodes["n1"].config.Table.View().Index() || d.timesAsked() != 0 {
			t.Errorf("the directory was asked %d times", d.timesAsked())
		}
		leads.Store(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		alice := s.login("alice", "n1")
		wantList(t, "addresses with an account, or the first", alice.contactList(), "bob BOB/BOB.B Sales", "d.d DORA/D.D Sales")
		n.config.Sources.Replace(accounts.Set{Sources: map[string]accounts.Source{"corp": d}}) // of no domain
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantList(t, "nobody is of a domain of the source", alice.contactList(), "bob BOB/BOB.B Sales", "d.d DORA/D.D Sales")
		n.config.Sources.Replace(accounts.Set{})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantList(t, "without the source", alice.contactList())
	})
}

// What the table refuses is told, and all else is taken over.
func TestGroupsThatAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newGroupSite(t)
		for i := range protocol.MaxContactGroups {
			s.must(&storev1.Change{Kind: &storev1.Change_PutContactGroup{PutContactGroup: &storev1.PutContactGroup{Group: &storev1.ContactGroup{
				Source: "corp", Key: fmt.Sprintf("cn=G%04d", i), Name: "x", Member: []*storev1.GroupMember{{Address: "bob@example.com"}},
			}}}})
		}
		d.set(func() {
			d.groups = map[string][]string{}
			for i := range protocol.MaxContactGroups {
				d.groups[fmt.Sprintf("G%04d", i)] = []string{"alice", "bob"}
			}
			d.groups["Z"] = []string{"alice", "carol"}
		})
		alice := s.login("alice", "n1")
		pass()
		wantList(t, "alice", alice.contactList(), "bob BOB G0000")
		if problems := s.nodes["n1"].groupSync.allProblems(); len(problems) != 1 || !strings.Contains(problems[0], "1 groups of the account source corp were refused: the site has 5000 contact groups already") {
			t.Errorf("%q", problems)
		}
		m := s.nodes["n1"].config.Sources.Metrics()[0]
		read := m.GroupsRead.Load()
		time.Sleep(soonPause + groupTick)
		synctest.Wait()
		if m.GroupsRead.Load() != read || m.GroupsFailed.Load() != 0 {
			t.Errorf("the directory is read again at once: %d times, then %d; %d failures", read, m.GroupsRead.Load(), m.GroupsFailed.Load())
		}
	})
}
