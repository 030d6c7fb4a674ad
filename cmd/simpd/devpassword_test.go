package main

import (
	"testing"

	"simpd/protocol"
	"simpd/store"
)

func TestDevChecksThePassword(t *testing.T) {
	for password, ok := range map[string]bool{"": true, "x": true, "\u00ad": false, "a\tb": false, "a\xff": false} {
		o := devOptions{nodes: 1, port: devPort, logLevel: "error", password: password}
		if err := o.check(); (err == nil) != ok {
			t.Errorf("--password %q: %v", password, err)
		}
	}
}

// Users have the password of the newest start, and app passwords survive it.
func TestMakingUsersAgainKeepsAppPasswords(t *testing.T) {
	one := newGlobe(t).site("one.example", nil)
	bob := one.address("bob")
	give := func(password string) *store.Account {
		t.Helper()
		if err := one.makeUsers(t.Context(), []string{bob.String()}, password); err != nil {
			t.Fatal(err)
		}
		account, _ := one.table.Account(bob)
		if !account.Credentials().Fits(password) || int(account.Verifier.Iterations) != protocol.ScramIterations {
			t.Errorf("%q is not the password", password)
		}
		return account
	}
	first := give("first")
	one.addAppPasswords(bob)
	if again := give("first"); again.Credential != first.Credential || len(again.AppPasswords()) != protocol.MaxAppPasswords {
		t.Errorf("with the same password: %+v", again)
	}
	if other := give("other"); len(other.AppPasswords()) != protocol.MaxAppPasswords {
		t.Errorf("with another password: %+v", other)
	}
}
