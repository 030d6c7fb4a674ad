package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"simpd/cmd/testkit/world"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/rate"
	"simpd/store"
)

// What a stranger is refused looks the same, octet for octet, whether there
// is no such user, or they do not listen, or they blocked the stranger; and the
// same look-ups were made.
func TestRefusalsLookAlike(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	_, blocking := one.login("quiet"), one.login("blocking")
	blocking.listen()
	pattern, err := protocol.ParsePattern("@two.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := blocking.SetRule(t.Context(), protocol.Rule{Who: pattern, Message: protocol.Deny, Presence: protocol.Deny}); err != nil {
		t.Fatal(err)
	}
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	var first string
	var looks uint64
	for _, user := range []string{"quiet", "blocking", "nobody"} {
		before := one.router.Lookups()
		said := k.ask("SEND from=eve@two.example id=x to=" + user + "@one.example {2}\r\nhi")
		made := one.router.Lookups() - before
		got := strings.ReplaceAll(fmt.Sprint(said), user, "USER")
		if first == "" {
			first, looks = got, made
		}
		if got != first || !strings.HasPrefix(said[0], "480 ") {
			t.Errorf("%s: %s, not %s", user, got, first)
		}
		if made != looks || made == 0 {
			t.Errorf("%s: %d look-ups, not %d", user, made, looks)
		}
	}
	first = ""
	for _, verb := range []string{"QUERY", "WATCH"} {
		for _, user := range []string{"quiet", "blocking", "nobody"} {
			got := strings.ReplaceAll(fmt.Sprint(k.ask(verb+" by=eve@two.example ima="+user+"@one.example")), user, "USER")
			if first == "" {
				first = got
			}
			if got != first || !strings.Contains(got, "state=deaf") {
				t.Errorf("%s: %s, not %s", user, got, first)
			}
		}
	}
}

// Whoever an operator blocks is answered as whoever a user's rule forbids: of a
// blocked user, domain and source.
func TestBlocksLookLikeRefusals(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	one.login("quiet")
	one.login("bob").listen()
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	k.answers("SEND from=eve@two.example id=x to=quiet@one.example {2}\r\nhi", "480")
	for _, target := range []string{"eve@two.example", "@two.example", "127.0.0.0/8"} {
		one.block(target)
		var said []string
		var looks []uint64
		for _, user := range []string{"quiet", "bob", "nobody"} {
			before := one.router.Lookups()
			answer := fmt.Sprint(k.ask("SEND from=eve@two.example id=x to="+user+"@one.example {2}\r\nhi"), k.ask("WATCH by=eve@two.example ima="+user+"@one.example"),
				k.ask("KEYS by=eve@two.example ima="+user+"@one.example"))
			said, looks = append(said, regexp.MustCompile(`index=\d+`).ReplaceAllString(strings.ReplaceAll(answer, user, "USER"), "index")), append(looks, one.router.Lookups()-before)
		}
		if said[0] != said[1] || said[0] != said[2] || looks[0] != looks[1] || looks[0] != looks[2] || !strings.Contains(said[0], "480 ") || !strings.Contains(said[0], "state=deaf") {
			t.Errorf("%s: %q after %d look-ups", target, said, looks)
		}
		one.unblock(target)
	}
	if said := k.ask("SEND from=eve@two.example id=y to=bob@one.example {2}\r\nhi"); !strings.HasPrefix(said[0], "200") {
		t.Errorf("when the blocks are gone: %v", said)
	}
}

// A stranger may write to thirty recipients a minute that are new to them.
func TestStrangersAreSlowedDown(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	send := func(from string, n int) string {
		return fmt.Sprintf("SEND from=%s@two.example to=u%d@one.example {2}\r\nhi", from, n)
	}
	for i := range 30 {
		k.answers(send("eve", i), "480")
	}
	if said := k.answers(send("eve", 30), "429"); !strings.Contains(said, "retry=2") {
		t.Errorf("%s", said)
	}
	k.answers(send("EVE", 31), "429")
	k.answers(send("eve", 3), "480") // not new any more
	k.answers(send("mallory", 30), "480")
	n := 0
	for ; n < 400; n++ { // senders that are made up
		if strings.HasPrefix(k.ask(send(fmt.Sprint("m", n), 1000+n))[0], "429") {
			break
		}
	}
	if n > 300 {
		t.Errorf("%d recipients were tried in a minute", n)
	}
}

// One change is one line for as many watchers as it can name, and what
// waits for a site that does not read is the newest alone.
func TestOneChangeManyWatchers(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", func(c *config) {
		c.limits.changes = rate.Limit{} // else bob's changes take so long that k, which answers no PING meanwhile, is cut off
	})
	bob := one.login("bob")
	pattern, _ := protocol.ParsePattern("@two.example")
	if err := bob.SetRule(t.Context(), protocol.Rule{Who: pattern, Presence: protocol.Allow}); err != nil {
		t.Fatal(err)
	}
	bob.listen()
	k := one.enters(g.issue(world.Order{Names: []string{"two.example"}}), "two.example")
	const watchers = 10_000
	for i := 0; i < watchers; i += 100 {
		var by strings.Builder
		for j := range 100 {
			fmt.Fprintf(&by, " by=w%d@two.example", i+j)
		}
		k.answers("WATCH ima=bob@one.example"+by.String(), "200")
	}
	k.answers("WATCH ima=bob@one.example by=more@two.example", "413")
	const changes = 100
	for i := range changes {
		if _, err := bob.SetState(t.Context(), []protocol.State{protocol.Busy, protocol.Away}[i%2], nil); err != nil {
			t.Fatal(err)
		}
	}
	lines, told := 0, map[string]string{}
	for len(told) < watchers || !allAre(told, "away") {
		line := k.line()
		var l protocol.Line
		if err := protocol.ParseLine(line, &l); err != nil || l.Verb != "PRESENCE" {
			continue
		}
		lines++
		state, _ := l.Get("state")
		for _, p := range l.Params {
			if p.Key == "by" {
				told[p.Value] = state
			}
		}
	}
	if lines > changes*watchers/50 {
		t.Errorf("%d lines for %d changes and %d watchers", lines, changes, watchers)
	}
}

func allAre(told map[string]string, state string) bool {
	for _, s := range told {
		if s != state {
			return false
		}
	}
	return true
}

// A user's QUERY of another site that is silent keeps nothing else on the
// connection waiting.
func TestForeignQueryKeepsNobodyWaiting(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	g.name("two.example", "simp", hole.Addr())
	one.login("alice")
	k := one.call(nil)
	k.answers("HELLO version=SIMP/1.0", "200")
	k.answers("AUTH mech=PLAIN data="+b64("\x00alice@one.example\x00"+testPassword), "200")
	began := time.Now()
	_, _ = io.WriteString(k.Conn, "q QUERY ima=bob@two.example\r\n")
	k.answers("PING", "200")
	if took := time.Since(began); took > time.Second {
		t.Errorf("PING was answered after %v", took)
	}
	for line := k.line(); !strings.HasPrefix(line, "q 200"); line = k.line() {
		if strings.HasPrefix(line, "q 100") && !strings.Contains(line, "state=unknown") {
			t.Errorf("%s", line)
		}
	}
}

// Whom the operator blocks is hung up on, and not taken again.
func TestPolicyIsReadAgain(t *testing.T) {
	g := newGlobe(t)
	one := g.site("one.example", nil)
	cert := g.issue(world.Order{Names: []string{"two.example"}})
	k := one.enters(cert, "two.example")
	changed := one.conf.federation
	changed.block = map[string][]string{"": {"two.example"}}
	if err := one.reloadPartners(&changed); err != nil {
		t.Fatal(err)
	}
	if line := k.line(); !strings.HasPrefix(line, "* BYE status=403") {
		t.Errorf("it says %s", line)
	}
	k = one.call(cert)
	k.answers("HELLO version=SIMP/1.0", "200")
	k.answers("AUTH mech=EXTERNAL data="+b64("two.example"), "403")
	k.answers("AUTH mech=DIALBACK data="+b64("two.example"), "403")
	changed.modes = map[string]protocol.FederationMode{"one.example": protocol.Closed}
	if err := one.reloadPartners(&changed); err != nil {
		t.Fatal(err)
	}
	k = one.call(cert)
	if hello := k.answers("HELLO version=SIMP/1.0", "200"); strings.Contains(hello, "EXTERNAL") || strings.Contains(hello, "DIALBACK") {
		t.Errorf("closed, and it offers %s", hello)
	}
}

// Reports about users of another site get there, and say what a signature proves.
func TestReportsReachTheOtherSite(t *testing.T) {
	g := newGlobe(t)
	one, two := g.site("one.example", nil), g.site("two.example", nil)
	alice, bob := one.login("alice"), two.login("bob")
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if _, err := bob.AddKey(t.Context(), key.Public().(ed25519.PublicKey), "laptop", nil); err != nil {
		t.Fatal(err)
	}
	signed, err := bob.Sign(key, client.Message{To: []protocol.Address{alice.User()}, ID: "m1", Entity: client.Text("buy this")})
	if err != nil {
		t.Fatal(err)
	}
	before := two.table.View().ReportsIndex()
	if err := alice.Report(t.Context(), protocol.Report{About: bob.User(), Reason: protocol.ReportSpam, ID: "m1", Entity: signed.Entity}); err != nil {
		t.Fatal(err)
	}
	two.awaitReport(before)
	for _, s := range []*homeSite{one, two} {
		r := s.table.View().Report(newestReport(s))
		if r == nil || r.Reporter != alice.User() || r.Reported != bob.User() || r.Signature != protocol.EvidenceVerified || !bytes.Equal(r.Entity, signed.Entity) {
			t.Errorf("%s has %+v", s.domain, r)
		}
		if (r.Via == "one.example") != (s == two) {
			t.Errorf("%s has it via %q", s.domain, r.Via)
		}
	}
	k := two.enters(g.issue(world.Order{Names: []string{"one.example"}}), "one.example")
	k.answers("REPORT ima=bob@two.example reason=spam by=eve@one.example :bad", "200")
	k.answers("REPORT ima=bob@two.example reason=spam by=eve@three.example", "403")
	k.answers("REPORT ima=bob@three.example reason=spam by=eve@one.example", "403")
	k.answers("REPORT ima=bob@two.example reason=spam", "400")
}

// awaitReport returns when reports have changed after an index.
func (s *homeSite) awaitReport(after uint64) {
	ctx, cancel := context.WithTimeout(s.globe.Context(), patience)
	defer cancel()
	for v := s.table.View(); v.ReportsIndex() <= after; v = s.table.View() {
		if err := s.table.Wait(ctx, v.Index()+1); err != nil {
			s.globe.Fatal(err)
		}
	}
}

func newestReport(s *homeSite) (id uint64) {
	s.table.View().Reports(0, func(r *store.Report) bool { id = r.ID; return true })
	return id
}

// block adds an operators' block of the site.
func (s *homeSite) block(target string) {
	s.change(&storev1.Change{Kind: &storev1.Change_AddBlock{AddBlock: &storev1.AddBlock{Block: &storev1.BlockEntry{Target: target}}}})
}

func (s *homeSite) unblock(target string) {
	s.change(&storev1.Change{Kind: &storev1.Change_RemoveBlock{RemoveBlock: &storev1.RemoveBlock{Target: target}}})
}

// change makes a change of the table.
func (s *homeSite) change(c *storev1.Change) {
	s.globe.Helper()
	results, err := s.cluster.Propose(s.globe.Context(), c)
	if err != nil || !results[0].Applied {
		s.globe.Fatalf("%v, %+v", err, results)
	}
}
