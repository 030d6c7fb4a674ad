package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"simpd/cluster/accounts/ldap/ldaptest"
)

// directoryUser is an entry of a user at example.com.
func directoryUser(uid, password string) ldaptest.Entry {
	return ldaptest.Entry{
		DN: "uid=" + uid + ",dc=example,dc=com", Password: password,
		Attributes: map[string][]string{"mail": {uid + "@example.com"}},
	}
}

// writeFile writes a file of mode 0600 into a folder of the test.
func writeFile(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Users of a directory log in with its password, while the users of the table
// do as before. The accounts file is read by SIGHUP, and a wrong one changes
// nothing. While the directory is down its users are told to try again, and app
// passwords work.
func TestUsersOfADirectory(t *testing.T) {
	directory := &ldaptest.Server{ServiceDN: "cn=simpd,dc=example,dc=com", ServicePassword: "service"}
	directory.Start(t, "127.0.0.1:0")
	directory.Set(directoryUser("dora", "right"), directoryUser("erik", "right"))
	secret := writeFile(t, "secret", "service\n")
	file := writeFile(t, "accounts.yaml", fmt.Sprintf("sources:\n  corp:\n    type: ldap\n    servers: ldap://%s\n    insecure: true\n"+
		"    bind_dn: %s\n    bind_password_file: %s\n    base: dc=example,dc=com\ndomains:\n  example.com: [table, corp]\n",
		directory.Addr(), directory.ServiceDN, secret))

	r := startReloader(t)
	r.addSecureUsers(r.keys, "bob")
	as := func(user, password string, command ...string) (int, string) {
		t.Setenv("SIMP_PASSWORD", password)
		return r.person(r.keys, user, command...)
	}
	expect := func(user, password string, code int, text string, command ...string) {
		t.Helper()
		if got, said := as(user, password, command...); got != code || !strings.Contains(said, text) {
			t.Errorf("%s %v: exit code %d: %s; want %d, %q", user, command, got, said, code, text)
		}
	}
	expect("dora", "right", 1, "wrong", "app", "list")
	r.reload(map[string]string{"accounts_file": file})
	expect("dora", "right", 0, "", "app", "list")
	expect("dora", "wrong", 1, "the address or the password is wrong", "app", "list")
	expect("eve", "right", 1, "the address or the password is wrong", "app", "list")
	expect("bob", testPassword, 0, "", "app", "list")
	if said := succeed(t, "", "simpctl", r.operator(r.keys, "account", "list")...); !strings.Contains(said, "corp") {
		t.Errorf("account list: %s", said)
	}
	t.Setenv("SIMP_PASSWORD", "right")
	phone, ok := r.addAppPassword(r.keys, "dora", "phone")
	if !ok {
		t.Fatal("no app password was added")
	}

	if err := os.WriteFile(file, []byte("sources: {corp: {type: ldpa}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGHUP)
	r.await(r.err, "reload failed")
	r.says(`msg="reload failed: the configuration is wrong" error=".*accounts.yaml:1:24: unknown type .*did you mean .*ldap`)
	expect("dora", "right", 0, "phone", "app", "list")
	if code, said := runTo(t, "", "simpctl", r.operator(r.keys, "doctor")...); code != 1 || !strings.Contains(said, "the last reload failed") {
		t.Errorf("simpctl doctor: exit code %d: %s", code, said)
	}
	if said := succeed(t, "", "simpctl", r.operator(r.keys, "account", "source", "check", "erik@example.com")...); !strings.Contains(said, "the entry is uid=erik") {
		t.Errorf("account source check: %s", said)
	}

	directory.Stop()
	expect("dora", "right", 1, "503", "app", "list")
	expect("dora", phone.Password, 0, "phone", "app", "list")
	expect("bob", testPassword, 0, "", "app", "list")
}
