package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/cluster/accounts/ldap/ldaptest"
)

// A club is a program that knows dora and erik.
func startClub(t *testing.T) *httptest.Server {
	t.Helper()
	club := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ IMA, Password string }
		_ = json.NewDecoder(r.Body).Decode(&q)
		result := "defer"
		if strings.HasPrefix(q.IMA, "dora@") || strings.HasPrefix(q.IMA, "erik@") {
			result = "deny"
			if q.Password == "right" {
				result = "allow"
			}
		}
		fmt.Fprintf(w, `{"result": %q}`, result)
	}))
	t.Cleanup(club.Close)
	return club
}

// Whichever sources a domain has, in whatever order, an unknown user, a wrong
// password of the table, and wrong passwords of a source's user who has logged
// in before and of one who has not are refused with the same octets, and not
// before the time for which refusals are held back. (That this time is the same
// for all is tested in fake time, in package accounts.)
func TestRefusedLoginsOfSourcesLookAlike(t *testing.T) {
	directory := &ldaptest.Server{ServiceDN: "cn=simpd,dc=example,dc=com", ServicePassword: "service"}
	directory.Start(t, "127.0.0.1:0")
	var entries []ldaptest.Entry
	for _, uid := range []string{"dora", "erik"} {
		entries = append(entries, ldaptest.Entry{DN: "uid=" + uid + ",dc=example,dc=com", Password: "right", Attributes: map[string][]string{"mail": {uid + "@one.example"}}})
	}
	directory.Set(entries...)
	sources := fmt.Sprintf("sources:\n  corp: {type: ldap, servers: ldap://%s, insecure: true, bind_dn: %q, bind_password_file: %s, base: \"dc=example,dc=com\"}\n"+
		"  club: {type: callout, url: %s/, insecure: true}\n  login: {type: oidc, issuer: https://login.example.com, audience: simp}\n",
		directory.Addr(), directory.ServiceDN, writeFile(t, "secret", "service\n"), startClub(t).URL)
	for _, order := range []string{"[table, corp]", "[corp, table]", "[corp]", "[table, club]", "[login, club, table]", "[login, table]"} {
		f, wrong := readAccountsFile(writeFile(t, "accounts.yaml", sources+"domains: {one.example: "+order+"}\n"), []string{"one.example"}, sourceTypes())
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		one := newGlobe(t).site("one.example", func(c *config) {
			c.proxies, c.accounts = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, f
		})
		if err := one.makeUsers(t.Context(), []string{"wrongpw@one.example"}, testPassword); err != nil {
			t.Fatal(err)
		}
		if answer := one.guesser(1).ask("AUTH mech=PLAIN data=" + b64("\x00dora@one.example\x00right"))[0]; strings.HasPrefix(answer, "200") == (order == "[login, table]") {
			t.Errorf("%s: dora logs in: %s", order, answer)
		}
		var guesses sync.WaitGroup
		for i, user := range []string{"unknown", "wrongpw", "dora", "erik"} {
			k := one.guesser(2 + i)
			guesses.Go(func() {
				defer k.Close()
				began := time.Now()
				answer := k.byPLAIN(user)
				if took := time.Since(began); took < 500*time.Millisecond && order != "[login, table]" { // there only the table checks passwords
					t.Errorf("%s: %s is refused after %v", order, user, took)
				}
				if answer != "401 :the address or the password is wrong" {
					t.Errorf("%s: %s is told %q by PLAIN", order, user, answer)
				}
				if answer := k.byScram(user); !strings.HasSuffix(answer, ", 401 :the address or the password is wrong") {
					t.Errorf("%s: %s is told %q by SCRAM", order, user, answer)
				}
			})
		}
		guesses.Wait()
	}
}
