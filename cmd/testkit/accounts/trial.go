package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"simpd/cmd/testkit/site"
)

// trial is a site whose accounts are in a directory of two servers.
type trial struct {
	*site.Site
	servers []*server
	app     string // a file with an app password of erik's
}

// begin starts the directory and the site, which has one user of its own.
func (t *trial) begin(p programs, file string) error {
	var urls, authorities []string
	for _, name := range []string{"ldap1", "ldap2"} {
		v, err := newServer(p, filepath.Join(t.Dir, name), "dora", "erik")
		if err != nil {
			return err
		}
		t.servers = append(t.servers, v)
		pem, err := os.ReadFile(v.path("cert.pem"))
		if err != nil {
			return err
		}
		authorities = append(authorities, string(pem))
	}
	for i, address := range []string{t.servers[0].plain, t.servers[1].secure} { // STARTTLS, and TLS
		_, port, _ := net.SplitHostPort(address)
		urls = append(urls, []string{"ldap", "ldaps"}[i]+"://localhost:"+port)
	}
	yaml := fmt.Sprintf("sources:\n  corp:\n    type: ldap\n    servers: [%s]\n    ca_file: %s\n    bind_dn: %s\n    bind_password_file: %s\n    base: %s\n"+
		"    filter: (objectClass=inetOrgPerson)\n    groups_base: %s\n    groups_interval: 5s\ndomains:\n  example.com: [table, corp]\n",
		strings.Join(urls, ", "), t.file("ca.pem"), service, t.file("service"), people, groups)
	for name, content := range map[string]string{file: yaml, t.file("ca.pem"): strings.Join(authorities, ""), t.file("service"): password, t.file("wrong"): "wrong\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return err
		}
	}
	if err := t.BeginAll(); err != nil {
		return err
	}
	return t.AddUsers(t.Nodes[0], "bob")
}

func (t *trial) file(name string) string { return filepath.Join(t.Dir, name) }

func (t *trial) stopServers() {
	for _, v := range t.servers {
		v.stop()
	}
}

// expect runs simp as a user at a node, and compares what comes of it.
func (t *trial) expect(n *site.Node, user string, code int, text string, args ...string) (string, error) {
	got, said, err := t.Run("", "simp", append(t.Person(n, user), args...)...)
	if err == nil && (got != code || !strings.Contains(said, text)) {
		err = fmt.Errorf("%s at %s, %v: exit code %d, not %d with %q: %s", user, n.ID, args, got, code, text, said)
	}
	return said, err
}

func (t *trial) tryLogins() error {
	for _, n := range t.Nodes {
		for _, user := range []string{"dora", "erik", "bob"} {
			if _, err := t.expect(n, user, 0, "", "app", "list"); err != nil {
				return err
			}
			if _, err := t.expect(n, user, 1, "(401)", "app", "list", "--password-file", t.file("wrong")); err != nil {
				return err
			}
		}
		if _, err := t.expect(n, "nobody", 1, "(401)", "app", "list"); err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) tryCheck() error {
	for user, want := range map[string]string{"dora@example.com": "the entry is uid=dora", "nobody@example.com": "no source knows the user"} {
		_, said, err := t.Simpctl(t.Nodes[1], "account", "source", "check", user)
		if err != nil {
			return err
		}
		if !strings.Contains(said, want) {
			return fmt.Errorf("%s: %s", user, said)
		}
	}
	return nil
}

func (t *trial) tryLeaver() error {
	var listeners []*site.Program
	for _, n := range t.Nodes {
		p, err := t.Start("simp", append(t.Person(n, "dora"), "listen")...)
		if err != nil {
			return err
		}
		if _, _, err := p.Await(0, "is listening"); err != nil {
			return err
		}
		listeners = append(listeners, p)
	}
	if err := t.servers[1].remove("dora"); err != nil {
		return err
	}
	began := time.Now()
	for _, p := range listeners {
		if _, err := p.Ended(time.Until(began.Add(time.Minute))); err != nil {
			return fmt.Errorf("a leaver is still there after %v: %w", time.Since(began), err)
		}
		if !strings.Contains(p.Said(), "(401)") {
			return fmt.Errorf("a leaver was told %s", p.Said())
		}
	}
	_, err := t.expect(t.Nodes[2], "dora", 1, "(401)", "app", "list")
	return err
}

func (t *trial) tryOutage() error {
	said, err := t.expect(t.Nodes[0], "erik", 0, "", "app", "add", "phone", "--output=json")
	if err != nil {
		return err
	}
	var app struct{ Password string }
	if err := json.Unmarshal([]byte(said), &app); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	t.app = t.file("app")
	if err := os.WriteFile(t.app, []byte(app.Password+"\n"), 0o600); err != nil {
		return err
	}
	t.stopServers()
	for _, n := range t.Nodes {
		for range 5 {
			if _, err := t.expect(n, "erik", 1, "(503)", "app", "list"); err != nil {
				return err
			}
		}
		if _, err := t.expect(n, "erik", 0, "phone", "app", "list", "--password-file", t.app); err != nil {
			return err
		}
		if _, err := t.expect(n, "bob", 0, "", "app", "list"); err != nil {
			return err
		}
	}
	if err := t.servers[0].start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(site.Patience); ; time.Sleep(100 * time.Millisecond) {
		if _, err := t.expect(t.Nodes[1], "erik", 0, "", "app", "list"); err == nil {
			return nil
		} else if strings.Contains(err.Error(), "(401)") || time.Now().After(deadline) {
			return err
		}
	}
}
