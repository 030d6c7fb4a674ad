package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/dns"
	"simpd/protocol/signature"
)

// verifier is a user's client that verifies all messages, and remembers keys
// and heads as the terminal client does.
type verifier struct {
	*client.Client
	book *logbook
	key  ed25519.PrivateKey

	mu     sync.Mutex
	known  map[protocol.Address]signature.Knowledge
	states map[signature.State]int
	wrong  []string
}

// verifier connects a user by DNS, adds the key of a device, which an older one
// vouches for, and listens.
func (g *globe) verifier(a protocol.Address, seed byte, b *logbook) *verifier {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.Context(), patience)
	defer cancel()
	v := &verifier{book: b, key: deviceKey(seed), known: map[protocol.Address]signature.Knowledge{}, states: map[signature.State]int{}}
	c, err := client.Open(ctx, client.Config{
		User: a, Password: testPassword, TLS: &tls.Config{RootCAs: g.authority.Roots()}, Resolver: dns.NewServer(g.zone.Addr), AllowPrivate: true,
		OnMessage: v.take,
	})
	if err != nil {
		g.Fatal(err)
	}
	v.Client = c
	g.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = c.Close(ctx)
	})
	first := deviceKey(seed + 100)
	if _, err := c.AddKey(ctx, publicOf(first), "", nil); err != nil {
		g.Fatal(err)
	}
	if _, err := c.AddKey(ctx, publicOf(v.key), "", first); err != nil {
		g.Fatal(err)
	}
	if _, err := c.Listen(ctx, protocol.ListenRequest{State: protocol.Available}); err != nil {
		g.Fatal(err)
	}
	return v
}

// take verifies a message, and remembers the key and the head if it is signed.
func (v *verifier) take(ctx context.Context, m *protocol.Message) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	verdict, list := v.Verify(ctx, m, v.known[m.From])
	if errors.Is(verdict.Err, client.ErrClosed) {
		return verdict.Err
	}
	v.book.take(m)
	v.states[verdict.State]++
	switch verdict.State {
	case signature.Signed:
		v.known[m.From] = signature.Knowledge{KeyIDs: []string{verdict.KeyID}, Heads: []signature.Head{list.Head()}}
	case signature.Unverified:
	default:
		v.wrong = append(v.wrong, fmt.Sprintf("%s of %s is %s: %v", m.ID, m.From, verdict.State, verdict.Err))
	}
	return nil
}

// sendMany sends signed messages one after the other, each again twice while
// it is in doubt. Where nothing goes out it takes its time.
func (v *verifier) sendMany(t *testing.T, to protocol.Address, name string) {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for i := 0; !v.book.isOver() && t.Context().Err() == nil; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		m, err := v.Sign(v.key, client.Message{To: []protocol.Address{to}, Entity: client.Text(id), ID: id, Retries: 2})
		if err != nil {
			t.Error(err)
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		report, err := v.Send(ctx, m)
		cancel()
		switch {
		case errors.Is(err, client.ErrNotSent):
			v.book.say(id, 0)
		case err != nil:
			t.Errorf("%s: %v", id, err)
		default:
			v.book.say(id, report.Results[0].Status)
		}
		if err != nil || report.Status != protocol.StatusOK {
			<-pace.C
		}
	}
}

// shownStates counts what simp listen has shown, by its state.
func shownStates(t *testing.T, p *process) map[string]int {
	t.Helper()
	count := map[string]int{}
	for line := range strings.Lines(p.out.String()) {
		var m struct {
			ID, From, Signature string
			Why                 string `json:"signature_error"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		count[m.Signature]++
		if m.Signature != "signed" && m.Signature != "not verified" {
			t.Errorf("simp listen shows %s of %s as %s: %s", m.ID, m.From, m.Signature, m.Why)
		}
	}
	return count
}

// Signed messages cross between two sites while nodes are killed and drained
// and messages in doubt are sent again: neither the Go library nor simp listen
// nor simp chat takes any for bad, or a key for new. The environment may set
// how many messages there are at least (SIMPD_MESSAGES).
func TestNoHonestMessageIsShownAsBad(t *testing.T) {
	total := 600
	if s := os.Getenv("SIMPD_MESSAGES"); s != "" {
		total, _ = strconv.Atoi(s)
	}
	g := newGlobe(t)
	one, two := g.processSite("one.example", 3), g.processSite("two.example", 1)
	b := &logbook{said: map[string]protocol.Status{}, taken: map[string]bool{}, over: make(chan struct{})}
	users := []string{"u1", "u2", "u3"}
	for _, s := range []*site.Site{one, two} {
		if err := s.AddUsers(s.Nodes[0], users...); err != nil {
			t.Fatal(err)
		}
	}
	var all []*verifier
	for i, u := range users {
		all = append(all, g.verifier(mustAddress(t, u+"@one.example"), byte(i), b), g.verifier(mustAddress(t, u+"@two.example"), byte(i)+10, b))
	}
	t.Setenv("SIMP_PASSWORD", testPassword)
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	var programs []*process
	for _, user := range []string{"u1@one.example", "u1@two.example"} {
		person := []string{"--user", user, "--tls-ca", g.roots, "--dns", g.zone.Addr}
		listen := start(t, "simp", append(person, "--output", "json", "listen")...)
		listen.await(listen.err, "is listening")
		programs = append(programs, listen)
	}
	chat := start(t, "simp", "--user", "u2@one.example", "--tls-ca", g.roots, "--dns", g.zone.Addr, "chat", "--plain", "--no-sign")
	var senders sync.WaitGroup
	for i, v := range all {
		for _, other := range []int{1, 2, 3} { // of the own and of the other site
			senders.Go(func() { v.sendMany(t, all[(i+other)%len(all)].User(), fmt.Sprintf("m%d-%d", i, other)) })
		}
	}
	chat.await(chat.err, "from here on: signed")
	b.killAt(t, total/6, one.Nodes[1])
	b.await(t, total/3)
	restart(t, one.Nodes[2])
	b.killAt(t, total/2, two.Nodes[0])
	b.killAt(t, total*2/3, one.Nodes[0])
	b.await(t, total*5/6)
	restart(t, two.Nodes[0])
	b.await(t, total)
	close(b.over)
	join(t, "all is sent", &senders)
	states := map[signature.State]int{}
	for _, v := range all {
		if _, err := v.Ping(t.Context()); err != nil { // all that is on its way has come
			t.Error(err)
		}
		v.mu.Lock()
		for _, w := range v.wrong {
			t.Error(w)
		}
		for state, n := range v.states {
			states[state] += n
		}
		v.mu.Unlock()
	}
	outcomes := map[protocol.Status]int{}
	for _, status := range b.said {
		outcomes[status]++
	}
	t.Logf("%d messages: outcomes %v, states %v", b.sent.Load(), outcomes, states)
	if states[signature.Signed] < total/2 {
		t.Errorf("too little was seen: %v", states)
	}
	for _, p := range programs {
		t.Logf("simp listen shows %v", shownStates(t, p))
	}
	if said := chat.err.String(); strings.Contains(said, "bad signature") || strings.Contains(said, "new key") {
		t.Errorf("simp chat says:\n%s", said)
	}
}
