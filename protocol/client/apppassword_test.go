package client_test

import (
	"errors"
	"testing"
	"time"

	"simpd/protocol/client"
	"simpd/protocol/internal/outbound/outboundtest"
)

// The server's answers about app passwords are read as it gives them.
func TestAppPasswords(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		wait := doing(func() {
			p.Answer("APP", "100 id=7 name=\"my phone\" created=2026-11-29T12:00:00.000Z used=2026-11-30\n"+
				"100 id=8 name=tablet created=2026-11-29T12:00:00.000Z until=2027-01-01T00:00:00.000Z\n200")
			p.Answer("APP add=build until=2027-01-01T00:00:00.000Z", "200 id=9 data=k3fm-7qpd")
			p.Answer("APP remove=7", "200")
		})
		until := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		list, err := c.AppPasswords(t.Context())
		if err != nil || len(list) != 2 || list[0].ID != 7 || list[0].Name != "my phone" || !list[0].Until.IsZero() ||
			list[0].Used != time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC) || list[1].ID != 8 || !list[1].Used.IsZero() || !list[1].Until.Equal(until) {
			t.Errorf("%+v, %v", list, err)
		}
		if id, password, err := c.AddAppPassword(t.Context(), "build", until); id != 9 || password != "k3fm-7qpd" || err != nil {
			t.Errorf("%d %q %v", id, password, err)
		}
		if err := c.RemoveAppPassword(t.Context(), 7); err != nil {
			t.Error(err)
		}
		wait()
		closeWith(t, c, p)
	})
}

// A server of SIMP/1.0 does not know the command, and that is what is said.
func TestAppPasswordsOfOldServers(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *site, c *client.Client, p *outboundtest.Peer) {
		wait := doing(func() {
			p.Answer("APP", "405 :unknown command APP")
			p.Answer("APP add=x", "405 :unknown command APP")
			p.Answer("APP remove=1", "405 :unknown command APP")
		})
		_, listErr := c.AppPasswords(t.Context())
		_, _, addErr := c.AddAppPassword(t.Context(), "x", time.Time{})
		for _, err := range []error{listErr, addErr, c.RemoveAppPassword(t.Context(), 1)} {
			if !errors.Is(err, client.ErrNotSupported) {
				t.Errorf("got %v", err)
			}
		}
		wait()
		closeWith(t, c, p)
	})
}
