package router

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// putGroup returns the change that makes a group of the source corp.
func putGroup(name string, members ...string) *storev1.Change {
	g := &storev1.ContactGroup{Source: "corp", Key: "cn=" + name, Name: name}
	for _, m := range members {
		g.Member = append(g.Member, &storev1.GroupMember{Address: m + "@example.com"})
	}
	slices.SortFunc(g.Member, func(a, b *storev1.GroupMember) int { return strings.Compare(a.Address, b.Address) })
	return &storev1.Change{Kind: &storev1.Change_PutContactGroup{PutContactGroup: &storev1.PutContactGroup{Group: g}}}
}

func removeGroup(name string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_RemoveContactGroup{RemoveContactGroup: &storev1.RemoveContactGroup{Source: "corp", Key: "cn=" + name}}}
}

// Groups change while WATCH and UNWATCH have released the hub's lock: the watches
// follow afterwards, and whatever has been reserved for them is returned.
func TestGroupsChangeDuringWatch(t *testing.T) {
	all := userNames("u", protocol.MaxGroupMembers-1)
	watch := func(t *testing.T, alice *client) { alice.watchContacts(t) }
	unwatch := func(_ *testing.T, alice *client) {
		alice.Unwatch(protocol.WatchRequest{Addresses: addresses(append(userNames("x", 1), all...))})
	}
	for name, during := range map[string]func(*testing.T, *client){"WATCH": watch, "UNWATCH": unwatch} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, "n1")
			s.raiseSchema()
			h := &s.nodes["n1"].hub
			s.must(putGroup("Sales", append(all, "alice")...))
			alice := s.login("alice", "n1")
			alice.watchContacts(t)
			changes := 0
			h.onYield = func() {
				if changes++; changes == 1 {
					s.must(removeGroup("Sales"), putGroup("Ops", "alice", "bob"))
					h.updateGroupWatches()
				}
			}
			during(t, alice)
			synctest.Wait()
			time.Sleep(groupPause)
			synctest.Wait()
			if n := len(alice.watched); n != 1 || changes == 0 {
				t.Errorf("%s: %d watches are left, not that of the new group", name, n)
			}
			alice.Unwatch(protocol.WatchRequest{})
			if held := h.owners.pool.Held(); h.watchCount != 0 || held != 0 || alice.share != nil {
				t.Errorf("%s: %d watches and %d octets are left", name, h.watchCount, held)
			}
		})
	}
}

// Notices of groups are as CONTACT shows them: with the name that the user gave. A
// watch ends when neither the user's own list nor a group has the contact any more.
func TestGroupNoticesAreAsTheListIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		s.must(putGroup("Sales", "alice", "bob"))
		alice := s.login("alice", "n1")
		bob := protocol.Contact{Address: addr("bob@example.com"), Name: "Bobby"}
		if err := alice.SetContact(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		alice.watchContacts(t)
		change := func(c ...*storev1.Change) []string {
			s.must(c...)
			time.Sleep(2 * groupPause)
			return alice.heard()
		}
		wantList(t, "another group", change(removeGroup("Sales"), putGroup("Ops", "alice", "bob")), "contact bob Ops Bobby")
		if err := alice.RemoveContact(t.Context(), bob.Address); err != nil {
			t.Fatal(err)
		}
		wantList(t, "the group is gone, too", change(removeGroup("Ops")), "contact bob  ")
		if n := len(alice.watched); n != 0 {
			t.Errorf("%d watches are left", n)
		}
		many := append(userNames("u", protocol.MaxGroupMembers-1), "alice")
		change(putGroup("A", many...))
		wantList(t, "more than the list has", change(putGroup("B", "alice", "x1", "x2")), "contact x1 B ", "x1 deaf ")
	})
}
