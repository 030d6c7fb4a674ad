package server

import (
	"testing"
	"time"

	"simpd/protocol"
)

// Contacts through groups are marked, and clients of SIMP/1.1 are told of changes.
func TestContactsThroughGroups(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice, old := s.loginAt11("alice"), s.login("alice")
		bob := protocol.Contact{Address: protocol.CanonicalAddress("bob@example.com"), Name: "Bob B.", Group: `R & "D"`}
		s.site.mu.Lock()
		s.site.groupContacts = []protocol.Contact{bob}
		s.site.mu.Unlock()
		for _, c := range []*client{alice, old} {
			c.send("1 CONTACT")
			c.expect(`1 100 ima=bob@example.com name="Bob B." group="R & \"D\""`)
			c.expect("1 200 partial=yes")
		}
		told := map[string]bool{}
		s.site.mu.Lock()
		for u := range s.site.users {
			one := u.session.NotifyContact(&protocol.ContactNotice{Contact: bob})
			u.session.NotifyContact(&protocol.ContactNotice{Contact: protocol.Contact{Address: protocol.CanonicalAddress("carol@example.com")}})
			told[map[bool]string{true: "1.1", false: "1.0"}[one]] = true
		}
		s.site.mu.Unlock()
		alice.expect(`* CONTACT ima=bob@example.com name="Bob B." group="R & \"D\""`)
		alice.expect("* CONTACT ima=carol@example.com remove=yes")
		old.expectNothing(time.Minute)
		if len(told) != 2 {
			t.Errorf("told: %v", told)
		}
	})
}
