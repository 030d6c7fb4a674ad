package main

import (
	"strings"
	"testing"
)

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
