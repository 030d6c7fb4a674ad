package client_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// Whoever becomes a contact through a group is watched, also on the connection
// that follows a MOVE. Nothing is believed that nobody has asked for.
func TestContactsOfGroupsAreFollowed(t *testing.T) {
	var told []string
	var r record
	say := func(n protocol.ContactNotice) {
		told = append(told, fmt.Sprintf("%s %q %q", n.Address.Local(), n.Group, n.Name))
	}
	inBubble(t, func(c *client.Config) { r.into(c); c.OnContact = say }, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		p.Say("* CONTACT ima=early@example.com group=Sales")
		p.Say("* PRESENCE ima=early@example.com state=deaf index=3")
		wait := doing(func() { p.Answer("WATCH contacts=yes", "100 ima=bob@example.com state=deaf\n200 index=11") })
		if _, err := c.WatchContacts(t.Context()); err != nil {
			t.Error(err)
		}
		wait()
		p.Say(`* CONTACT ima=carol@example.com group="R & D" name="Carol C."`)
		p.Say("* PRESENCE ima=carol@example.com state=deaf index=12")
		synctest.Wait() // so that it is told before the next
		p.Say("* PRESENCE ima=carol@example.com state=busy index=13")
		p.Say("* CONTACT ima=bob@example.com remove=yes")
		p.Say("* PRESENCE ima=bob@example.com state=busy index=14")
		p.Say("* CONTACT ima=x group=Sales")
		synctest.Wait()
		check(t, "followed", &r, &r.presences, `bob@example.com deaf "" 0`, `carol@example.com deaf "" 12`, `carol@example.com busy "" 13`)
		for i := range protocol.MaxContacts + 10 {
			p.Say("* CONTACT ima=u%d@example.com group=Flood", i)
		}
		synctest.Wait()
		if n := len(told); n > protocol.MaxContacts+3 {
			t.Errorf("%d were added", n)
		}
		if want := []string{`carol "R & D" "Carol C."`, `bob "" ""`}; !slices.Equal(told[:2], want) {
			t.Errorf("told %q, want %q", told[:2], want)
		}
		closeWith(t, c, p)
	})
}
