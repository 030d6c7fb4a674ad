package sasl

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"simpd/protocol"
)

func accountOf(t testing.TB, name, password string, apps ...string) Account {
	t.Helper()
	user, err := protocol.ParseAddress(name + "@example.com")
	if err != nil {
		t.Fatal(err)
	}
	credentials := func(password string) protocol.Credentials {
		c, err := protocol.NewCredentials(password, []byte("0123456789abcdef"), protocol.MinScramIterations)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := Account{User: user, Credentials: credentials(password), Known: true}
	for i, app := range apps {
		c := credentials(app)
		a.Credentials.AppPasswords = append(a.Credentials.AppPasswords, protocol.AppVerifier{ID: uint64(i + 1), StoredKey: c.StoredKey, ServerKey: c.ServerKey})
	}
	return a
}

// A password is known again only for its user, and while it is one of theirs.
func TestProvedPasswords(t *testing.T) {
	alice := accountOf(t, "alice", "secret", "app one")
	p := NewProvedPasswords()
	p.remember(alice.User, "secret", alice.Credentials.StoredKey)
	p.remember(alice.User, "app one", alice.Credentials.AppPasswords[0].StoredKey)
	disabled := alice
	disabled.Known = false
	withoutApp := alice
	withoutApp.Credentials.AppPasswords = nil
	for _, tt := range []struct {
		name     string
		account  Account
		password string
		want     bool
	}{
		{"the password", alice, "secret", true},
		{"an app password", alice, "app one", true},
		{"another password", alice, "secret2", false},
		{"another's password", accountOf(t, "bob", "secret"), "secret", false},
		{"the old password", accountOf(t, "alice", "new"), "secret", false},
		{"a removed app password", withoutApp, "app one", false},
		{"a disabled account", disabled, "secret", false},
	} {
		if _, proved := p.find(tt.account, tt.password); proved != tt.want {
			t.Errorf("%s: %v", tt.name, proved)
		}
	}
	if _, proved := NewProvedPasswords().find(alice, "secret"); proved {
		t.Error("another process knows it")
	}
	if p.tagOf(alice.User, "secret") == NewProvedPasswords().tagOf(alice.User, "secret") {
		t.Error("the tags of two processes are the same")
	}
}

// failedServer is a server at which too many logins have failed.
type failedServer struct{ Server }

var errTooManyFailed = protocol.Errorf(protocol.StatusSlowDown, "too many failed")

func (failedServer) CheckLimits(protocol.Address) error                { return errTooManyFailed }
func (failedServer) AwaitTurn(context.Context, protocol.Address) error { return nil }

// A password that was proved before is not accepted before the guesses ahead
// of it are counted: it waits for its turn to be hashed, and the limits are
// checked then.
func TestProvedPasswordsWaitForTheirTurn(t *testing.T) {
	alice := accountOf(t, "alice", "secret")
	p := NewPlain(failedServer{}, NewHasher(), NewProvedPasswords())
	p.Account = alice
	p.proved.remember(alice.User, "secret", alice.Credentials.StoredKey)
	if err := p.checkPassword(t.Context(), "secret"); !errors.Is(err, errTooManyFailed) {
		t.Errorf("%v", err)
	}
}

// A disabled account's password takes as long as a wrong one: as many
// verifiers are tried, and none of them is told.
func TestUnknownAccountsProveNothing(t *testing.T) {
	alice := accountOf(t, "alice", "secret", "app one")
	p := &appProof{messages: "n=alice@example.com,r=abc,r=abcdef,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096,"}
	if got := p.selectVerifier(alice.Credentials, false, "c=biws,r=abcdef,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="); got != nil {
		t.Errorf("%v is proved", got)
	}
}

func TestProvedPasswordsAreBounded(t *testing.T) {
	alice := accountOf(t, "alice", "secret")
	p := NewProvedPasswords()
	for i := range maxProvedPasswords + 10 {
		p.remember(alice.User, fmt.Sprint(i), alice.Credentials.StoredKey)
	}
	if n := len(p.stored); n != maxProvedPasswords {
		t.Errorf("%d passwords are remembered", n)
	}
}

// A repeated PLAIN login costs two HMACs in place of the iterations.
func BenchmarkPlainPassword(b *testing.B) {
	alice := accountOf(b, "alice", "secret", "app one", "app two")
	p := NewProvedPasswords()
	p.remember(alice.User, "secret", alice.Credentials.StoredKey)
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			if _, fits := alice.Credentials.FindKey(alice.Credentials.StoredKeyOf("secret")); !fits {
				b.Fatal("it does not fit")
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		for b.Loop() {
			if _, proved := p.find(alice, "secret"); !proved {
				b.Fatal("it is not remembered")
			}
		}
	})
}

// BenchmarkScramProof measures what app passwords add to a login by SCRAM.
func BenchmarkScramProof(b *testing.B) {
	for _, apps := range []int{0, protocol.MaxAppPasswords} {
		alice := accountOf(b, "alice", "secret")
		for i := range apps {
			alice.Credentials.AppPasswords = append(alice.Credentials.AppPasswords, protocol.AppVerifier{ID: uint64(i + 1), StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)})
		}
		b.Run(fmt.Sprint(apps, " app passwords, wrong proof"), func(b *testing.B) {
			p := &appProof{messages: "n=alice@example.com,r=abc,r=abcdef,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096,"}
			for b.Loop() {
				p.selectVerifier(alice.Credentials, true, "c=biws,r=abcdef,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
			}
		})
	}
}
