package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"simpd/cmd/testkit/site"
)

// manyUsers is how many users the directory has besides: more than one page of a
// search, and than OpenLDAP returns unless it is told otherwise.
const manyUsers = 1200

// addGroups gives a server's directory groups: of distinguished names that have to be
// escaped, of users who were never seen, and within one another.
func (v *server) addGroups() error {
	return v.edit(func(c *ldap.Conn) error {
		var failed []error
		add := func(dn string, attributes map[string][]string) {
			r := ldap.NewAddRequest(dn, nil)
			for name, values := range attributes {
				r.Attribute(name, values)
			}
			failed = append(failed, c.Add(r))
		}
		person := func(dn, mail, name string) {
			add(dn, map[string][]string{"objectClass": {"inetOrgPerson"}, "cn": {name}, "sn": {name}, "displayName": {name}, "mail": {mail + "@example.com"}})
		}
		for i := range manyUsers {
			person(fmt.Sprintf("cn=user%d,%s", i, people), fmt.Sprint("user", i), fmt.Sprint("User ", i))
		}
		person(`cn=Garcia\, Andrea +mail=andrea@example.com,`+people, "andrea", "Garcia, Andrea")
		group := func(name string, members ...string) {
			add("cn="+ldap.EscapeDN(name)+","+groups, map[string][]string{"objectClass": {"groupOfNames"}, "cn": {name}, "member": members})
		}
		group("Sales, North", "uid=dora,"+people, "UID=Erik, OU=People, "+suffix, `cn=Garcia\2C Andrea+mail=andrea@example.com,`+people)
		group("Whole House", `cn=Sales\, North,`+groups, "cn=user7,"+people)
		group("Too many", func() (all []string) {
			for i := range manyUsers {
				all = append(all, fmt.Sprintf("cn=user%d,%s", i, people))
			}
			return all
		}()...)
		return errors.Join(failed...)
	})
}

// changeMembers adds a member to a group, or removes it.
func (v *server) changeMembers(group, member string, remove bool) error {
	return v.edit(func(c *ldap.Conn) error {
		r := ldap.NewModifyRequest("cn="+ldap.EscapeDN(group)+","+groups, nil)
		if remove {
			r.Delete("member", []string{member})
		} else {
			r.Add("member", []string{member})
		}
		return c.Modify(r)
	})
}

// tryGroups asks a directory that has groups. Both servers have them.
func (t *trial) tryGroups() error {
	for _, v := range t.servers {
		if err := v.addGroups(); err != nil {
			return err
		}
	}
	for _, n := range t.Nodes {
		if err := t.awaitContacts(n, "erik", "dora@example.com dora group Sales, North", "andrea@example.com Garcia, Andrea group Sales, North", "user7@example.com User 7 group Whole House"); err != nil {
			return err
		}
		if _, err := t.expect(n, "erik", 1, "is a contact through the group \"Sales, North\" of the directory, and can't be removed (403)", "contact", "remove", "dora@example.com"); err != nil {
			return err
		}
	}
	return errors.Join(t.tryGroupChange(), t.tryGroupOutage())
}

// tryGroupChange changes a group while a member watches contacts.
func (t *trial) tryGroupChange() error {
	watcher, err := t.Start("simp", append(t.Person(t.Nodes[2], "erik"), "watch", "--contacts")...)
	if err != nil {
		return err
	}
	defer watcher.Kill()
	if _, _, err := watcher.Await(0, "user7@example.com", "deaf"); err != nil {
		return err
	}
	began := time.Now()
	for _, v := range t.servers {
		if err := v.changeMembers("Whole House", "cn=user1111,"+people, false); err != nil {
			return err
		}
	}
	if _, _, err := watcher.Await(0, "user1111@example.com", "deaf"); err != nil {
		return err
	}
	fmt.Printf("    a new member was shown after %v\n", time.Since(began).Round(100*time.Millisecond))
	for _, v := range t.servers {
		if err := v.changeMembers("Whole House", "cn=user7,"+people, true); err != nil {
			return err
		}
	}
	if err := t.awaitContacts(t.Nodes[0], "erik", "user1111@example.com"); err != nil {
		return err
	}
	return t.awaitNoContact(t.Nodes[1], "erik", "user7@example.com")
}

// tryGroupOutage shows that a directory that is down changes nothing, and that the
// operator is told of groups that are left out.
func (t *trial) tryGroupOutage() error {
	if _, said, err := t.Simpctl(t.Nodes[0], "doctor"); err != nil || !strings.Contains(said, "the group Too many") && !strings.Contains(said, `the group "Too many"`) {
		return fmt.Errorf("doctor says nothing of the group that is too large: %v: %s", err, said)
	}
	t.stopServers()
	if err := t.awaitDoctor("could not be read, and stay as they were"); err != nil {
		return err
	}
	for _, n := range t.Nodes {
		code, said, err := t.Simpctl(n, "account", "list")
		if err != nil || code != 0 || !strings.Contains(said, "erik@example.com") {
			return fmt.Errorf("accounts at %s: %v: %s", n.ID, err, said)
		}
	}
	for _, v := range t.servers {
		if err := v.start(); err != nil {
			return err
		}
	}
	return t.awaitContacts(t.Nodes[2], "erik", "dora@example.com", "user1111@example.com")
}

// awaitContacts waits until a user's contacts have these texts.
func (t *trial) awaitContacts(n *site.Node, user string, texts ...string) error {
	return t.awaitOutput(func() (string, error) { return t.expect(n, user, 0, "", "contact") }, func(said string) bool {
		said = strings.Join(strings.Fields(said), " ") // without the columns
		for _, text := range texts {
			if !strings.Contains(said, text) {
				return false
			}
		}
		return true
	})
}

func (t *trial) awaitNoContact(n *site.Node, user, contact string) error {
	return t.awaitOutput(func() (string, error) { return t.expect(n, user, 0, "", "contact") }, func(said string) bool { return !strings.Contains(said, contact) })
}

func (t *trial) awaitDoctor(text string) error {
	return t.awaitOutput(func() (string, error) {
		_, said, err := t.Simpctl(t.Nodes[0], "doctor")
		return said, err
	}, func(said string) bool { return strings.Contains(said, text) })
}

// awaitOutput runs a program until it says what is wanted.
func (t *trial) awaitOutput(run func() (string, error), isRight func(said string) bool) error {
	for deadline := time.Now().Add(site.Patience); ; time.Sleep(500 * time.Millisecond) {
		said, err := run()
		if err == nil && isRight(said) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("after %v: %s", site.Patience, said), err)
		}
	}
}
