package router

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// appCredentials returns credentials with the salt of putAccount's accounts.
func appCredentials(key byte) protocol.Credentials {
	salt := make([]byte, 16)
	salt[0] = 1
	k := bytes.Repeat([]byte{key}, 32)
	return protocol.Credentials{Salt: salt, Iterations: 10000, StoredKey: k, ServerKey: k}
}

var available = protocol.ListenRequest{State: protocol.Available}

// loginByApp connects by an app password.
func (s *site) loginByApp(name, id string, app uint64) *client {
	s.t.Helper()
	c := s.newClient(name, id)
	c.who.Credential, c.who.UsesAppPassword = app, true
	u, err := s.nodes[id].Login(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	c.Connection = u
	return c
}

func addApp(t *testing.T, c *client, p protocol.AppPassword, key byte) uint64 {
	t.Helper()
	id, err := c.AddAppPassword(t.Context(), p, appCredentials(key))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// An app password that is added at one node is good at another. Its removal
// ends its sessions everywhere, and no others.
func TestRemovingAnAppPasswordEndsItsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		own := s.login("bob", "n1")
		phone, tablet := addApp(t, own, protocol.AppPassword{Name: "phone"}, 5), addApp(t, own, protocol.AppPassword{Name: "tablet"}, 6)
		c, _ := s.nodes["n2"].Credentials(own.who.User)
		if len(c.AppPasswords) != 2 || !c.SharesSalt || c.AppPasswords[0].ID != phone {
			t.Errorf("n2 has %+v", c)
		}
		byPhone, byTablet := s.loginByApp("bob", "n2", phone), s.loginByApp("bob", "n1", tablet)
		byPhone.mustListen(t, available)
		byTablet.mustListen(t, available)
		if err := own.RemoveAppPassword(t.Context(), phone); err != nil {
			t.Fatal(err)
		}
		if got := byPhone.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("the phone heard %v", got)
		}
		if _, _, err := byPhone.Listen(t.Context(), available); err == nil {
			t.Error("the phone listens again")
		}
		for _, c := range []*client{own, byTablet} {
			if got := c.heard(); len(got) > 0 {
				t.Errorf("another session heard %v", got)
			}
		}
		var refused *protocol.Error
		if err := own.RemoveAppPassword(t.Context(), phone); !errors.As(err, &refused) || refused.Status != protocol.StatusUnknownAddress {
			t.Errorf("removed twice: %v", err)
		}
		late := s.newClient("bob", "n1")
		late.who.Credential, late.who.UsesAppPassword = phone, true
		if _, err := s.nodes["n1"].Login(t.Context(), late); !errors.As(err, &refused) || refused.Status != protocol.StatusUnauthorized {
			t.Errorf("a login by what was removed: %v", err)
		}
	})
}

// A new password leaves the sessions of app passwords, and ends all others but
// the one that asked. Disabling ends all.
func TestPasswordsAndTheSessionsOfAppPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		own, other := s.listen("bob", "n1"), s.listen("bob", "n2")
		app := s.loginByApp("bob", "n2", addApp(t, own, protocol.AppPassword{Name: "phone"}, 5))
		app.mustListen(t, available)
		stranger := appCredentials(9)
		stranger.Salt = bytes.Repeat([]byte{7}, 16)
		if err := own.SetPassword(t.Context(), stranger); !errors.Is(err, protocol.ErrOtherSalt) {
			t.Errorf("a password with another salt: %v", err)
		}
		if err := own.SetPassword(t.Context(), appCredentials(9)); err != nil {
			t.Fatal(err)
		}
		if got := other.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("the other session heard %v", got)
		}
		other.Close()
		if got := append(own.heard(), app.heard()...); len(got) > 0 {
			t.Errorf("those that stay heard %v", got)
		}
		synctest.Wait()
		if n := len(s.nodes["n1"].config.Table.Listener(own.who.User).Bindings); n != 2 {
			t.Errorf("%d sessions listen", n)
		}
		s.must(setDisabled("bob", true))
		synctest.Wait()
		for _, c := range []*client{own, app} {
			if got := c.heard(); !slices.Contains(got, "bye 401") {
				t.Errorf("once disabled: %v", got)
			}
		}
	})
}

// An app password ends by itself, with its sessions.
func TestAppPasswordsEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		own := s.login("bob", "n1")
		app := s.loginByApp("bob", "n1", addApp(t, own, protocol.AppPassword{Name: "phone", Until: time.Now().Add(time.Hour)}, 5))
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if got := app.heard(); len(got) > 0 {
			t.Errorf("too early: %v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := app.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("at its end: %v", got)
		}
		if c, _ := s.nodes["n1"].Credentials(own.who.User); len(c.AppPasswords) > 0 || !c.SharesSalt {
			t.Errorf("it can be used still: %+v", c)
		}
	})
}

// The day of the newest login is kept, once a day.
func TestUseOfAppPasswordsIsRecordedOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		s.raiseSchema()
		own := s.login("bob", "n1")
		id := addApp(t, own, protocol.AppPassword{Name: "phone"}, 5)
		before := s.nodes["n1"].config.Table.Index()
		for range 2 {
			for _, node := range []string{"n1", "n2"} {
				s.loginByApp("bob", node, id).Close()
				synctest.Wait()
			}
		}
		list := own.AppPasswords()
		if now := s.nodes["n1"].config.Table.Index(); now != before+1 || len(list) != 1 || list[0].Used != dayTime(dayOf(time.Now())) {
			t.Errorf("%d changes, %+v", now-before, list)
		}
		time.Sleep(24 * time.Hour)
		s.loginByApp("bob", "n2", id).Close()
		synctest.Wait()
		if list := own.AppPasswords(); list[0].Used != dayTime(dayOf(time.Now())) {
			t.Errorf("the next day: %+v", list)
		}
	})
}

// Every login is in one of the batches, once.
func TestBatchesOfAppLoginsHaveEveryLogin(t *testing.T) {
	var l appLogins
	l.init()
	const logins = 2*rebindBatch + 10
	bob := protocol.CanonicalAddress("bob@example.com")
	for id := range uint64(logins) {
		l.waiting <- appLogin{bob, id, 20000}
		if id < 20 {
			l.waiting <- appLogin{bob, id, 20000}
		}
	}
	seen := map[appLogin]int{}
	for len(l.waiting) > 0 {
		batch := l.takeBatch(<-l.waiting)
		if len(batch) > rebindBatch {
			t.Errorf("%d logins in a batch", len(batch))
		}
		for login := range batch {
			if seen[login]++; seen[login] > 1 {
				t.Errorf("%v is in two batches", login)
			}
		}
	}
	if len(seen) != logins {
		t.Errorf("%d of %d logins are in batches", len(seen), logins)
	}
}

// Before all nodes know app passwords, none is added.
func TestNoAppPasswordsBeforeTheirSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		own := s.login("bob", "n1")
		before := len(s.log)
		_, err := own.AddAppPassword(t.Context(), protocol.AppPassword{Name: "phone"}, appCredentials(5))
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status != protocol.StatusUnavailable || len(s.log) != before {
			t.Errorf("%v, and %d entries more", err, len(s.log)-before)
		}
		err = own.RemoveAppPassword(t.Context(), 1)
		if !errors.As(err, &refused) || refused.Status != protocol.StatusUnknownAddress || len(s.log) != before {
			t.Errorf("to remove one: %v, and %d entries more", err, len(s.log)-before)
		}
	})
}

// A restore from a backup ends the sessions of app passwords, which the backup
// has too.
func TestRestoreEndsSessionsOfAppPasswords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		own := s.login("bob", "n1")
		id := addApp(t, own, protocol.AppPassword{Name: "phone"}, 5)
		app := s.loginByApp("bob", "n1", id)
		account, _ := s.nodes["n1"].config.Table.Account(own.who.User)
		c := appCredentials(1)
		s.must(&storev1.Change{Kind: &storev1.Change_RestoreAccounts{RestoreAccounts: &storev1.RestoreAccounts{First: true, Last: true, Record: []*storev1.Record{
			{Kind: &storev1.Record_Account{Account: &storev1.Account{
				Address: "bob@example.com", AppPassword: account.AppPasswordRecords(),
				Verifier: &storev1.Verifier{Salt: c.Salt, Iterations: 10000, StoredKey: c.StoredKey, ServerKey: c.ServerKey},
			}}},
		}}}})
		synctest.Wait()
		if got := app.heard(); !slices.Contains(got, "bye 401") {
			t.Errorf("heard %v", got)
		}
		s.loginByApp("bob", "n1", id).mustListen(t, available)
	})
}
