package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"simpd/cluster/accounts"
	"simpd/cluster/accounts/ldap"
	"simpd/protocol/secretfile"
)

// ldapType is the account source for LDAP directories.
func ldapType() sourceType {
	return sourceType{name: "ldap", help: "an LDAP directory, such as OpenLDAP or Active Directory", begin: func() ([]sourceKey, func(sourceEnv) (accounts.Source, error)) {
		l := &ldapFile{}
		return l.keys(), l.create
	}}
}

// ldapFile holds the settings of an LDAP directory.
type ldapFile struct {
	ldap.Config
	caFile, passwordFile string
	checks               []keyCheck
}

// keyCheck checks a key that depends on others, once all are set.
type keyCheck struct {
	key   string
	check func() error
}

func (l *ldapFile) keys() []sourceKey {
	return []sourceKey{
		{name: "servers", arg: "URL", form: list, required: true, help: "the servers in the order in which they are asked: ldaps://HOST[:PORT] for TLS, or ldap://HOST[:PORT] for STARTTLS", set: l.setServers},
		{name: "ca_file", arg: "FILE", help: "the certificate authority of the servers, instead of the system's", set: keepText(&l.caFile)},
		{name: "insecure", form: toggle, help: "use no TLS with ldap://, on loopback only", set: keepToggle(&l.Insecure)},
		{name: "bind_dn", arg: "DN", help: "the name with which entries are looked for; if not set, they are looked for anonymously", set: keepChecked(&l.BindDN, checkBindDN)},
		{name: "bind_password_file", arg: "FILE", help: "a file of mode 0600 with the password of bind_dn", set: keepText(&l.passwordFile)},
		{name: "base", arg: "DN", help: "where users' entries are", set: keepChecked(&l.Base, ldap.ParseDN)},
		{name: "filter", arg: "FILTER", standard: "(objectClass=*)", help: "which entries below base are users'", set: keepChecked(&l.Filter, ldap.ParseFilter)},
		{name: "address", arg: "ATTRIBUTE", standard: "mail", help: "the attribute that holds a user's address, or {ATTRIBUTE}@DOMAIN if it holds the local part", set: func(v []string) (err error) {
			l.Address, err = ldap.ParseMapping(v[0])
			return err
		}},
		{name: "bind_template", arg: "NAME", help: "what users bind as, if entries are not looked for: {local}, {domain} and {ima} stand for the user's. Not together with base, filter and address", set: keepChecked(&l.BindTemplate, ldap.ParseTemplate)},
		{name: "max_leavers", arg: "PERCENT", standard: "10%", help: "how many of its accounts may be missing at once before none of them is disabled; 10 accounts may always be. It also holds for groups", set: keepPercent(&l.MaxLeavers)},
		{name: "groups_base", arg: "DN", help: "where groups' entries are, whose members get one another as contacts. It needs base", set: keepChecked(&l.Groups.Base, ldap.ParseDN)},
		{name: "groups_filter", arg: "FILTER", standard: "all groups", help: "which entries below groups_base are such groups; others there still count as parts of them", set: keepChecked(&l.Groups.Filter, ldap.ParseFilter)},
		{name: "groups_name", arg: "ATTRIBUTE", standard: "cn", help: "the attribute with the name of a group", set: keepChecked(&l.Groups.Name, ldap.ParseAttribute)},
		{name: "groups_members", arg: "ATTRIBUTE", form: list, standard: "member, uniqueMember, memberUid", help: "the attributes with the members of a group: distinguished names of users or groups, or what users have in groups_member_id", set: l.setMembers},
		{name: "groups_member_id", arg: "ATTRIBUTE", standard: "uid", help: "the attribute of users that members which are no distinguished names stand for", set: keepChecked(&l.Groups.MemberID, ldap.ParseAttribute)},
		{name: "groups_of", arg: "ATTRIBUTE", help: "the attribute of users that says in which groups they are, such as memberOf or department; then groups_members is not read, and groups_base is needed only to choose among the groups", set: keepChecked(&l.Groups.Of, ldap.ParseAttribute)},
		{name: "groups_display_name", arg: "ATTRIBUTE", standard: "displayName, or cn", help: "the attribute with the name of a contact", set: keepChecked(&l.Groups.DisplayName, ldap.ParseAttribute)},
		{name: "groups_interval", arg: "TIME", standard: "5m", help: "how often groups are read: 5s to 24h", set: l.setInterval},
	}
}

func (l *ldapFile) setMembers(v []string) error {
	for _, attribute := range v {
		if err := ldap.ParseAttribute(attribute); err != nil {
			return err
		}
	}
	l.Groups.Members = v
	return nil
}

func (l *ldapFile) setInterval(v []string) (err error) {
	l.Groups.Interval, err = time.ParseDuration(v[0])
	if err != nil || l.Groups.Interval < minGroupInterval || l.Groups.Interval > maxGroupInterval {
		return fmt.Errorf("invalid interval %q: must be from 5s to 24h, like 5m", v[0])
	}
	return nil
}

const (
	minGroupInterval = 5 * time.Second
	maxGroupInterval = 24 * time.Hour
)

// setServers checks the URLs later, because insecure may follow.
func (l *ldapFile) setServers(v []string) error {
	l.Servers = v
	for _, s := range v {
		if err := ldap.ParseServer(s, false); err != nil {
			return err
		}
	}
	l.checks = append(l.checks, keyCheck{"servers", func() error {
		for _, s := range v {
			if err := ldap.ParseServer(s, l.Insecure); err != nil {
				return err
			}
		}
		return nil
	}})
	return nil
}

// create reads the files, and makes the source.
func (l *ldapFile) create(env sourceEnv) (accounts.Source, error) {
	for _, c := range l.checks {
		if err := c.check(); err != nil {
			return nil, keyError{c.key, err}
		}
	}
	if err := l.checkTemplate(); err != nil {
		return nil, err
	}
	if err := l.checkGroups(); err != nil {
		return nil, err
	}
	c := l.Config
	c.Name, c.Logger = env.name, env.logger
	if l.caFile != "" {
		authorities, err := secretfile.LoadAuthorities(l.caFile)
		if err != nil {
			return nil, keyError{"ca_file", err}
		}
		c.Roots = secretfile.Roots(authorities)
	}
	if l.passwordFile != "" {
		var err error
		if c.BindPassword, err = readSecret(l.passwordFile); err != nil {
			return nil, keyError{"bind_password_file", err}
		}
	}
	return ldap.New(c)
}

// checkTemplate refuses keys about entries where none are looked for: somebody
// whom they keep out would not be.
func (l *ldapFile) checkTemplate() error {
	for _, k := range []struct {
		name string
		set  bool
	}{{"base", l.Base != ""}, {"filter", l.Filter != ""}, {"address", l.Address != ldap.Mapping{}}} {
		if l.BindTemplate != "" && k.set {
			return keyError{k.name, errors.New("it has no effect with bind_template, which looks for no entries: remove one of both")}
		}
	}
	return nil
}

// checkGroups refuses keys about groups that have no effect.
func (l *ldapFile) checkGroups() error {
	g := &l.Groups
	for _, k := range []struct {
		name string
		set  bool
		need string
	}{
		{"groups_base", g.Base != "" && l.Base == "", "base, below which the members are looked for"},
		{"groups_of", g.Of != "" && l.Base == "", "base, below which the members are looked for"},
		{"groups_filter", g.Filter != "" && g.Base == "", "groups_base"},
		{"groups_name", g.Name != "" && g.Base == "", "groups_base"},
		{"groups_members", len(g.Members) > 0 && g.Base == "", "groups_base"},
		{"groups_member_id", g.MemberID != "" && g.Base == "", "groups_base"},
		{"groups_display_name", g.DisplayName != "" && g.Base == "" && g.Of == "", "groups_base or groups_of"},
		{"groups_interval", g.Interval != 0 && g.Base == "" && g.Of == "", "groups_base or groups_of"},
	} {
		if k.set {
			return keyError{k.name, fmt.Errorf("it has no effect without %s", k.need)}
		}
	}
	if len(g.Members) > 0 && g.Of != "" {
		return keyError{"groups_members", errors.New("it has no effect with groups_of, by which users say which groups they are in: remove one of both")}
	}
	return nil
}

// checkBindDN takes a distinguished name, or user@domain as Active Directory
// does.
func checkBindDN(s string) error {
	if strings.Contains(s, "=") {
		return ldap.ParseDN(s)
	}
	if !strings.ContainsAny(s, `@\`) {
		return fmt.Errorf("invalid name %q: must be like cn=simpd,dc=example,dc=com", s)
	}
	return nil
}

// readSecret returns the first line of a file of mode 0600.
func readSecret(file string) (string, error) {
	content, err := secretfile.Read(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(content), "\n")
	if line = strings.TrimSuffix(line, "\r"); line == "" {
		return "", errors.New(file + " is empty")
	}
	return line, nil
}

// The functions below make a key's set.

func keepText(to *string) func([]string) error {
	return func(v []string) error {
		*to = v[0]
		return nil
	}
}

func keepChecked(to *string, check func(string) error) func([]string) error {
	return func(v []string) error {
		*to = v[0]
		return check(v[0])
	}
}

func keepPercent(to *int) func([]string) error {
	return func(v []string) error {
		number, percent := strings.CutSuffix(v[0], "%")
		n, err := strconv.Atoi(number)
		if !percent || err != nil || n < 1 || n > 100 {
			return fmt.Errorf("%q is not a percentage from 1%% to 100%%", v[0])
		}
		*to = n
		return nil
	}
}

func keepToggle(to *bool) func([]string) error {
	return func(v []string) (err error) {
		*to, err = strconv.ParseBool(v[0])
		return err
	}
}
