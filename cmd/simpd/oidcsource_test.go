package main

import (
	"log/slog"
	"strings"
	"testing"
)

// The accounts file's OpenID providers are checked key by key, without asking
// anybody.
func TestOIDCSource(t *testing.T) {
	secret := writeFile(t, "secret", "key\n")
	const issuer = "issuer: https://login.example.com, "
	for keys, want := range map[string]string{
		issuer + "audience: simp": "",
		issuer + "audience: [simp, other], algorithms: [RS256, ES256], address_claim: upn, verified_claim: always, client_id: simp, scope: openid": "",
		issuer + "audience: simp, introspection: https://login.example.com/i, introspection_id: simpd, introspection_secret_file: " + secret:       "",
		"audience: simp":                                                      "issuer is missing in login",
		issuer + "client_id: simp":                                            "audience is missing in login",
		"issuer: http://login.example.com, audience: simp":                    "must begin with https://",
		issuer + "audience: simp, algorithms: HS256":                          `invalid algorithm "HS256"`,
		issuer + "audience: simp, address_claim: upn":                         "set verified_claim too",
		issuer + "audience: simp, address_claim: email":                       "",
		issuer + "audience: simp, audiences: x":                               `unknown key "audiences"`,
		issuer + "audience: simp, introspection: https://login.example.com/i": "introspection_id and introspection_secret_file are required",
		issuer + "audience: simp, introspection_secret_file: /none":           "/none",
		issuer + "audience: simp, introspect_all: true":                       "introspect_all: it has no effect without introspection",
		issuer + "audience: simp, ca_file: " + secret:                         secret,
	} {
		path := writeFile(t, "accounts.yaml", "sources: {login: {type: oidc, "+keys+"}}\ndomains: {example.com: [login, table]}\n")
		f, wrong := readAccountsFile(path, []string{"example.com"}, sourceTypes())
		switch {
		case want == "" && len(wrong) > 0, want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0].Error(), want)):
			t.Errorf("%s: %v, want %q", keys, wrong, want)
		case want == "":
			set, err := f.newSet(sourceEnv{logger: slog.New(slog.DiscardHandler)}, nil)
			if err != nil {
				t.Errorf("%s: %v", keys, err)
				continue
			}
			set.Sources["login"].Close()
		}
	}
}

// Several sources of a domain may introspect only if all may see one another's
// tokens: an opaque token does not say who has issued it.
func TestSeveralIntrospectingSources(t *testing.T) {
	secret := writeFile(t, "secret", "key\n")
	const sources = `sources:
  one: {type: oidc, issuer: https://one.example, audience: simp, introspection: https://one.example/i, introspection_id: simpd, introspection_secret_file: SECRET}
  two: {type: oidc, issuer: https://two.example, audience: simp, introspection: https://two.example/i, introspection_id: simpd, introspection_secret_file: SECRET}
  jwt: {type: oidc, issuer: https://jwt.example, audience: simp}
`
	share := strings.NewReplacer("introspection_id", "introspect_all: true, introspection_id")
	for text, want := range map[string]string{
		sources + "domains: {example.com: [one, jwt, table], example.net: [jwt, two]}": "",
		sources + "domains: {example.com: [one, jwt, two]}":                            ":5:11: example.com has several sources with introspection (one, two), and an opaque token does not say which provider has issued it",
		share.Replace(sources) + "domains: {example.com: [one, two]}":                  "",
	} {
		_, wrong := readAccountsFile(writeFile(t, "accounts.yaml", strings.ReplaceAll(text, "SECRET", secret)), []string{"example.com", "example.net"}, sourceTypes())
		if len(wrong) != min(len(want), 1) || want != "" && !strings.Contains(wrong[0].Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, wrong, want)
		}
	}
}
