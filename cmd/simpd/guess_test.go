package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

// guesser connects, as a balancer says from somewhere new each time, so that
// no budget of failures slows the guesses.
func (s *homeSite) guesser(number int) *caller {
	t := s.globe.T
	t.Helper()
	conn := dial(t, s.sockets["simps-listen"].Addr().String())
	fmt.Fprintf(conn, "PROXY TCP4 10.%d.%d.%d 127.0.0.1 40000 7468\r\n", number>>16&255, number>>8&255, number&255)
	secure := tls.Client(conn, &tls.Config{RootCAs: s.globe.authority.Roots(), ServerName: s.domain, NextProtos: []string{"simp"}})
	if err := secure.Handshake(); err != nil {
		t.Fatal(err)
	}
	k := &caller{t, secure, bufio.NewReader(secure)}
	k.line()
	k.answers("HELLO version=SIMP/1.0", "200")
	return k
}

// byPLAIN and byScram guess a password, and return what was answered, but for
// what is random in it.
func (c *caller) byPLAIN(user string) string {
	return c.ask("AUTH mech=PLAIN data=" + b64("\x00"+user+"@one.example\x00wrong"))[0]
}

func (c *caller) byScram(user string) string {
	_, _ = io.WriteString(c.Conn, "t AUTH mech=SCRAM-SHA-256 data="+b64("n,,n="+user+"@one.example,r=fyko")+"\r\n")
	line := c.line()
	data, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(line, "t 101 data="))
	nonce, rest, _ := strings.Cut(string(data), ",")
	salt, iterations, _ := strings.Cut(rest, ",")
	said := c.ask("MORE data=" + b64("c=biws,"+nonce+",p="+b64(strings.Repeat("x", 32))))[0]
	return fmt.Sprintf("101 %d %d %s, %s", len(nonce), len(salt), iterations, said)
}

// addAppPasswords gives a user as many app passwords as they may have.
func (s *homeSite) addAppPasswords(user protocol.Address) {
	t := s.globe.T
	t.Helper()
	account, _ := s.table.Account(user)
	var changes []*storev1.Change
	for i := range protocol.MaxAppPasswords {
		key := bytes.Repeat([]byte{byte(i)}, 32)
		changes = append(changes, &storev1.Change{Kind: &storev1.Change_AddAppPassword{AddAppPassword: &storev1.AddAppPassword{
			Address: user.String(), Name: fmt.Sprint(i),
			Verifier: &storev1.Verifier{Salt: account.Verifier.Salt, Iterations: account.Verifier.Iterations, StoredKey: key, ServerKey: key},
		}}})
	}
	results, err := s.cluster.Propose(t.Context(), changes...)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Applied {
			t.Fatalf("no app password was added: %+v", r)
		}
	}
}

// A wrong password, a disabled account, a user with app passwords and an
// unknown user are refused with the same octets; and in the same time, as SIMPD_MEASURE has it
// measured over 1000 logins of each and each way, and printed. What the slowest
// tenth took says more of the machine than of the site, and is left out.
func TestRefusedLoginsLookAlike(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) { c.proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	if err := one.makeUsers(t.Context(), []string{"wrongpw@one.example", "blocked@one.example", "devices@one.example"}, testPassword); err != nil {
		t.Fatal(err)
	}
	disable := &storev1.Change{Kind: &storev1.Change_SetDisabled{SetDisabled: &storev1.SetDisabled{Address: "blocked@one.example", Disabled: true}}}
	if _, err := one.cluster.Propose(t.Context(), disable); err != nil {
		t.Fatal(err)
	}
	one.addAppPasswords(one.address("devices"))
	tries, measured := 3, os.Getenv("SIMPD_MEASURE") != ""
	if measured {
		tries = 1000
	}
	users, source := []string{"wrongpw", "blocked", "devices", "unknown"}, 0
	for name, guess := range map[string]func(*caller, string) string{"PLAIN": (*caller).byPLAIN, "SCRAM": (*caller).byScram} {
		took, first := map[string]timed{}, ""
		for i := range tries {
			source++
			k := one.guesser(source)
			for j := range users { // in turn, and each first as often as the others
				user := users[(i+j)%len(users)]
				began := time.Now()
				said := guess(k, user)
				took[user] = append(took[user], time.Since(began))
				if first == "" {
					first = said
				}
				if said != first || !strings.HasSuffix(said, "401 :the address or the password is wrong") {
					t.Fatalf("%s: %s is told %q, another %q", name, user, said, first)
				}
			}
			_ = k.Close()
		}
		if measured {
			t.Run(name, func(t *testing.T) { sameTime(t, users, took) })
		}
	}
}

// sameTime prints how long things took, and fails where some took longer than
// others, by more than chance and by more than a tenth.
func sameTime(t *testing.T, names []string, took map[string]timed) {
	t.Helper()
	for _, name := range names {
		took[name] = slices.Sorted(slices.Values(took[name]))[:len(took[name])*9/10]
		t.Logf("%-9s mean %.1f µs, p50 %v, p90 %v", name, took[name].mean()/1000, took[name].at(0.5), took[name].at(1))
	}
	for i, name := range names {
		other := names[(i+1)%len(names)]
		apart, a, b := welch(took[name], took[other]), took[name].mean(), took[other].mean()
		t.Logf("%s and %s: t = %.2f", name, other, apart)
		if apart > 4.5 && math.Abs(a-b) > 0.1*min(a, b) {
			t.Errorf("%s takes %.0f ns, %s %.0f ns: t = %.1f", name, a, other, b, apart)
		}
	}
}
