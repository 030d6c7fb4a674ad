package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// appPassword is what simp app prints, as JSON.
type appPassword struct{ ID, Name, Password string }

// addAppPassword adds an app password by a program of its own.
func (n *testNode) addAppPassword(keys, user, name string) (p appPassword, ok bool) {
	n.t.Helper()
	code, said := n.person(keys, user, "app", "add", name, "--output=json")
	if code != 0 {
		return p, false
	}
	if err := json.Unmarshal([]byte(said), &p); err != nil {
		n.t.Errorf("simp app add: %v: %s", err, said)
	}
	return p, true
}

// appPasswords returns the names of a user's app passwords, if the node says.
func (n *testNode) appPasswords(keys, user string) (names []string, ok bool) {
	n.t.Helper()
	code, said := n.person(keys, user, "app", "list", "--output=json")
	if code != 0 {
		return nil, false
	}
	for line := range strings.Lines(said) {
		var p appPassword
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			n.t.Fatalf("simp app list: %v: %s", err, said)
		}
		names = append(names, p.Name)
	}
	return names, true
}

// An app password that was added at one node logs in at another. When it is
// removed at a third, its session ends, and nobody logs in with it any more.
func TestAppPasswordsOnThreeNodes(t *testing.T) {
	keys, dir := makeKeys(t, "n1", "n2", "n3"), t.TempDir()
	site := startSite(t, dir, keys, "n1", "n2", "n3")
	site[0].addSecureUsers(keys, "bob")
	t.Setenv("SIMP_PASSWORD", testPassword)
	phone, ok := site[0].addAppPassword(keys, "bob", "phone")
	if !ok {
		t.Fatal("no app password was added")
	}
	t.Setenv("SIMP_PASSWORD", phone.Password)
	listener := start(t, "simp", site[1].personArgs(keys, "bob", "listen")...)
	eventually(t, "bob listens", func() bool {
		code, said := site[1].person(keys, "bob", "query", "--fresh", "bob@example.com")
		return code == 0 && strings.Contains(said, "available")
	})
	if code, said := site[1].person(keys, "bob", "app", "remove", phone.ID); code != 1 || !strings.Contains(said, "app password") {
		t.Errorf("removed by itself: exit code %d: %s", code, said)
	}
	if said := succeed(t, "", "simpctl", site[2].operator(keys, "account", "app", "list", "bob@example.com")...); !strings.Contains(said, "phone") {
		t.Errorf("account app list: %s", said)
	}
	succeed(t, "", "simpctl", site[2].operator(keys, "account", "app", "remove", "bob@example.com", phone.ID)...)
	if code := listener.exit(); code != 1 {
		t.Errorf("the session ended with exit code %d", code)
	}
	if code, said := site[1].person(keys, "bob", "app", "list"); code != 1 {
		t.Errorf("a login by what was removed: exit code %d: %s", code, said)
	}
}

// What was acknowledged outlives kill -9 of the node that acknowledged it
// while it adds and removes: added app passwords are there, and removed ones
// are not.
func TestKillKeepsAppPasswords(t *testing.T) {
	keys, dir := makeKeys(t, "n1", "n2", "n3"), t.TempDir()
	site := startSite(t, dir, keys, "n1", "n2", "n3")
	site[0].addSecureUsers(keys, "bob")
	t.Setenv("SIMP_PASSWORD", testPassword)
	victim, other := site[0], site[1]
	killed := make(chan struct{})
	var added, removed []string
	for i := 0; ; i++ {
		p, ok := victim.addAppPassword(keys, "bob", fmt.Sprint("p", i))
		if !ok {
			break
		}
		added = append(added, p.Name)
		if i == 2 {
			go func() {
				defer close(killed)
				victim.signal(syscall.SIGKILL)
			}()
		}
		if i%2 == 0 {
			continue
		}
		if code, _ := victim.person(keys, "bob", "app", "remove", p.ID); code != 0 {
			added = added[:len(added)-1] // it may have been removed, or not
			break
		}
		added, removed = added[:len(added)-1], append(removed, p.Name)
	}
	<-killed
	victim.exit()
	if len(added) < 2 || len(removed) < 1 {
		t.Fatalf("only %v was added, and %v removed", added, removed)
	}
	var got []string
	eventually(t, "another node lists the app passwords", func() (ok bool) {
		got, ok = other.appPasswords(keys, "bob")
		return ok
	})
	for _, name := range added {
		if !slices.Contains(got, name) {
			t.Errorf("%s was added, and is lost: %v", name, got)
		}
	}
	for _, name := range removed {
		if slices.Contains(got, name) {
			t.Errorf("%s was removed, and is back: %v", name, got)
		}
	}
}
