package router

import (
	"errors"
	"testing"
	"testing/synctest"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// An account that a certificate has made belongs to no source: the first one
// that knows the user takes it over.
func TestASourceTakesOverTheAccountOfACertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{accounts.Table, "corp"}, "n1")
		s.raiseSchema()
		n, dora := s.nodes["n1"], addr("dora@example.com")
		if _, err := n.AcceptCertificate(t.Context(), dora); err != nil {
			t.Fatal(err)
		}
		if _, err := s.check("dora", "n1", "wrong", false); statusOf(err) != protocol.StatusUnauthorized {
			t.Errorf("a wrong password: %v", err)
		}
		s.enter("dora", "n1", s.mustCheck("dora", "n1"))
		if a, _ := n.config.Table.Account(dora); a.Source() != "corp" {
			t.Errorf("it belongs to %q", a.Source())
		}
		if v, err := n.AcceptCertificate(t.Context(), dora); err != nil {
			t.Errorf("the certificate: %v", err)
		} else {
			s.enter("dora", "n1", v)
		}
		d.set(func() { delete(d.passwords, "dora") })
		if _, err := s.check("dora", "n1", "right", false); statusOf(err) != protocol.StatusUnauthorized {
			t.Errorf("a password of who is gone: %v", err)
		}
	})
}

// An account that is made while a source is asked is not the source's: it may be
// another person's.
func TestAnAccountMadeDuringALoginIsNotTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{"corp", accounts.Table}, "n1")
		s.raiseSchema()
		d.meeting = func() {
			d.meeting = nil
			s.must(putAccount("dora", 7))
		}
		if _, err := s.check("dora", "n1", "right", false); statusOf(err) != protocol.StatusUnavailable {
			t.Errorf("%v", err)
		}
		if a, ok := s.nodes["n1"].config.Table.Account(addr("dora@example.com")); !ok || a.Source() != "" {
			t.Errorf("it belongs to %q", a.Source())
		}
	})
}

// Sources are not asked about those who can't log in whatever they say.
func TestSourcesAreNotAskedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newSourceSite(t, []string{"corp", accounts.Table}, "n1")
		s.raiseSchema()
		s.mustCheck("dora", "n1")
		s.must(setDisabled("dora", true))
		d.set(func() { d.broken, d.passwords["♥"] = errors.New("it was asked"), "right" })
		for _, name := range []string{"dora", "♥"} {
			if _, err := s.check(name, "n1", "right", false); statusOf(err) != protocol.StatusUnauthorized {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := s.nodes["n1"].AcceptCertificate(t.Context(), addr("♥@example.com")); statusOf(err) != protocol.StatusUnauthorized {
			t.Errorf("a certificate of an address that nobody can have: %v", err)
		}
	})
}
