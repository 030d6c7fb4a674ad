package main

import (
	"strings"
	"testing"
)

// Keys about groups are checked, each at its line.
func TestGroupKeys(t *testing.T) {
	const source = "sources:\n  corp:\n    type: ldap\n    servers: ldaps://ldap.example.com\n    base: dc=example\n"
	const domains = "domains: {example.com: [table, corp]}"
	for text, want := range map[string]string{
		"    groups_base: ou=groups,dc=example\n    groups_interval: 10s\n    groups_members: [member, memberUid]\n": "",
		"    groups_of: memberOf\n    groups_display_name: cn\n":                                                     "",
		"    groups_base: groups\n":                                                          `:6:18: groups_base: invalid distinguished name "groups"`,
		"    groups_base: dc=example\n    groups_filter: x)\n":                               ":7:20: groups_filter: invalid filter x)",
		"    groups_base: dc=example\n    groups_interval: 1s\n":                             `:7:22: groups_interval: invalid interval "1s": must be from 5s to 24h, like 5m`,
		"    groups_base: dc=example\n    groups_members: [a, b c]\n":                        `:7:21: groups_members: invalid attribute "b c"`,
		"    groups_filter: (cn=x)\n":                                                        ":6:5: groups_filter: it has no effect without groups_base",
		"    groups_interval: 1m\n":                                                          ":6:5: groups_interval: it has no effect without groups_base or groups_of",
		"    groups_base: dc=example\n    groups_of: memberOf\n    groups_members: member\n": ":8:5: groups_members: it has no effect with groups_of",
		"    group_base: dc=example\n":                                                       `:6:5: unknown key "group_base" of a source of type ldap (did you mean "groups_base"?)`,
	} {
		_, wrong := readAccountsFile(writeFile(t, "accounts.yaml", source+text+domains), []string{"example.com"}, sourceTypes())
		if len(wrong) != min(len(want), 1) || want != "" && !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, wrong, want)
		}
	}
	const template = "sources:\n  corp:\n    type: ldap\n    servers: ldaps://ldap.example.com\n    bind_template: uid={local},dc=x\n    groups_base: dc=x\ndomains: {example.com: corp}"
	_, wrong := readAccountsFile(writeFile(t, "accounts.yaml", template), []string{"example.com"}, sourceTypes())
	if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), ":6:5: groups_base: it has no effect without base") {
		t.Errorf("with bind_template: %v", wrong)
	}
}

// With bind_template nobody is looked for, so what would keep users out is
// refused, each at its line, and so is a source that would never be asked.
func TestBindTemplateStandsAlone(t *testing.T) {
	const source = "sources:\n  corp:\n    type: ldap\n    servers: ldaps://ldap.example.com\n    bind_template: uid={local},dc=example\n"
	for text, want := range map[string]string{
		source + "domains: {example.com: [table, corp]}":                            "",
		source + "    base: dc=example\ndomains: {example.com: corp}":               ":6:5: base: it has no effect with bind_template",
		source + "    filter: (uid=*)\ndomains: {example.com: corp}":                ":6:5: filter: it has no effect with bind_template",
		source + "    address: \"{uid}@example.com\"\ndomains: {example.com: corp}": ":6:5: address: it has no effect with bind_template",
		source + "domains: {example.com: [corp, table]}":                            ":6:31: table is never asked: corp before it can't tell unknown users from wrong passwords",
	} {
		_, wrong := readAccountsFile(writeFile(t, "accounts.yaml", text), []string{"example.com"}, sourceTypes())
		if len(wrong) != min(len(want), 1) || want != "" && !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, wrong, want)
		}
	}
}
