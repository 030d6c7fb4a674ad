package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

// liar is a home server that lies about lists of keys: a proxy in front of an
// honest one, which puts a list of its own in the place of the true one.
type liar struct {
	t       *testing.T
	honest  string // where the honest server is
	address string

	mu  sync.Mutex
	lie func(user string, truth []signature.Key) []signature.Key // nil: it tells the truth
}

func newLiar(t *testing.T, honest string) *liar {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{t: t, honest: honest, address: listener.Addr().String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { l.pass(c) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		conns.Wait()
	})
	return l
}

// tell has the server lie from now on; nil: it tells the truth.
func (l *liar) tell(lie func(user string, truth []signature.Key) []signature.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lie = lie
}

// pass passes on what a client and the honest server say.
func (l *liar) pass(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.honest)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer server.Close()
	s := &lyingSession{liar: l, asked: map[string]*keysAsked{}}
	var up sync.WaitGroup
	up.Go(func() {
		passLines(client, server, s.fromClient)
		_ = server.(*net.TCPConn).CloseWrite()
	})
	passLines(server, client, s.fromServer)
	_ = client.(*net.TCPConn).CloseWrite()
	up.Wait()
}

// passLines passes lines on as change returns them, and literals as they are.
func passLines(from io.Reader, to io.Writer, change func(line string) string) {
	for r := bufio.NewReader(from); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(to, change(line)); err != nil {
			return
		}
		var l protocol.Line
		if protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l) == nil && l.Literal > 0 {
			if _, err := io.CopyN(to, r, int64(l.Literal)); err != nil {
				return
			}
		}
	}
}

// lyingSession is one client's connection to a liar.
type lyingSession struct {
	*liar
	mu    sync.Mutex
	asked map[string]*keysAsked // KEYS that are not answered, by tag
}

// keysAsked is a KEYS that is being answered.
type keysAsked struct {
	user string
	list []signature.Key
}

func (s *lyingSession) fromClient(line string) string {
	var l protocol.Line
	if protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l) == nil && l.Verb == "KEYS" {
		user, _ := l.Get("ima")
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked[l.Tag] = &keysAsked{user: user}
	}
	return line
}

// fromServer holds back the lines of a list, and tells the lie at its end.
func (s *lyingSession) fromServer(line string) string {
	var l protocol.Line
	if err := protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l); err != nil {
		s.t.Errorf("%q: %v", line, err)
		return line
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.asked[l.Tag]
	switch {
	case k == nil || l.IsRequest():
		return line
	case l.Status == protocol.StatusPartial:
		k.list = append(k.list, parseKey(s.t, &l))
		return ""
	}
	delete(s.asked, l.Tag)
	list := k.list
	s.liar.mu.Lock()
	if s.lie != nil {
		list = s.lie(k.user, list)
	}
	s.liar.mu.Unlock()
	return listLines(s.t, l.Tag, k.user, list)
}

// parseKey reads a line of a list.
func parseKey(t *testing.T, l *protocol.Line) (k signature.Key) {
	get := func(name string) string { v, _ := l.Get(name); return v }
	when := func(name string) (at time.Time) {
		if text := get(name); text != "" {
			var err error
			if at, err = time.Parse(protocol.TimeFormat, text); err != nil {
				t.Error(err)
			}
		}
		return at
	}
	octets := func(name string) []byte {
		b, err := base64.StdEncoding.DecodeString(get(name))
		if err != nil {
			t.Error(err)
		}
		return b
	}
	number := func(name string) (n int) { _, _ = fmt.Sscan(get(name), &n); return n }
	k = signature.Key{
		ID: get("kid"), Key: octets("key"), Name: get("name"), Created: when("created"), AddedAs: number("record"),
		By: get("signer"), Proof: octets("sig"), Revoked: when("revoked"), RevokedAs: number("revocation"),
	}
	if k.RevokedAs != 0 && get("by") == signature.ByOperator {
		k.RevokedBy = signature.ByOperator
	}
	return k
}

// listLines writes a list as a server does, with the head that fits it.
func listLines(t *testing.T, tag, user string, list []signature.Key) string {
	heads, err := signature.HeadsOf(user, list)
	if err != nil {
		t.Error(err)
		return ""
	}
	var b strings.Builder
	for _, k := range list {
		fmt.Fprintf(&b, "%s 100 kid=%s key=%s created=%s record=%d index=1", tag, k.ID, base64.StdEncoding.EncodeToString(k.Key), k.Created.Format(protocol.TimeFormat), k.AddedAs)
		if k.By != "" {
			fmt.Fprintf(&b, " by=%s signer=%s sig=%s", k.By, k.By, base64.StdEncoding.EncodeToString(k.Proof))
		}
		if k.RevokedAs != 0 {
			fmt.Fprintf(&b, " revoked=%s revocation=%d", k.Revoked.Format(protocol.TimeFormat), k.RevokedAs)
		}
		b.WriteString("\r\n")
	}
	return b.String() + fmt.Sprintf("%s 200 head=%s\r\n", tag, heads[len(heads)-1])
}

// evilKey is a key of the server's own, in the list of a user.
func evilKey(record int, created time.Time) signature.Key {
	public := publicOf(deviceKey(99))
	return signature.Key{ID: signature.KeyID(public), Key: public, Created: created, AddedAs: record}
}

// The lies that a home server could tell.
var (
	addsAKey = func(_ string, truth []signature.Key) []signature.Key {
		return append(truth, evilKey(len(truth)+1, truth[0].Created))
	}
	rewritesTheList = func(_ string, truth []signature.Key) []signature.Key {
		return []signature.Key{evilKey(1, truth[0].Created)}
	}
	hidesRevocations = func(_ string, truth []signature.Key) []signature.Key {
		for i := range truth {
			truth[i].Revoked, truth[i].RevokedAs, truth[i].RevokedBy = time.Time{}, 0, ""
		}
		return truth
	}
)

// victim is bob, whose home server lies, and alice, who writes to him.
type victim struct {
	t     *testing.T
	liar  *liar
	alice *client.Client
	bob   *process
	n     int
}

// newVictim begins simp listen with nothing remembered. Each one has a sender
// of its own, so that none meets the keys of another.
func newVictim(t *testing.T, at func(node int, user string, args ...string) []string, l *liar, alice *client.Client) *victim {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	args := at(1, "bob", "listen")
	for i, arg := range args {
		if arg == l.honest {
			args[i] = l.address
		}
	}
	v := &victim{t: t, liar: l, alice: alice, bob: start(t, "simp", args...)}
	v.bob.await(v.bob.err, "is listening")
	return v
}

// says sends a message that is signed with a key, and waits until it is shown.
func (v *victim) says(key ed25519.PrivateKey, text string) {
	v.t.Helper()
	v.n++
	m, err := v.alice.Sign(key, client.Message{To: []protocol.Address{mustAddress(v.t, "bob@example.com")}, Entity: client.Text(text)})
	if err != nil {
		v.t.Fatal(err)
	}
	report, err := v.alice.Send(v.t.Context(), m)
	if err != nil || report.Status != protocol.StatusOK {
		v.t.Fatalf("%s: %v, %v", text, report, err)
	}
}

var clockTime = regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d `)

// shows checks all that simp has shown.
func (v *victim) shows(want string) {
	v.t.Helper()
	got := strings.TrimSpace(clockTime.ReplaceAllString(v.bob.out.String(), ""))
	if got != strings.TrimSpace(want) {
		v.t.Errorf("simp listen showed\n%s\nwant\n%s", got, want)
	}
}

const (
	rewritten = "(bad signature): [not shown: the sender's server rewrote their list of keys; simp listen --show-bad shows it]"
	noLonger  = "(bad signature): [not shown: the key was not valid when the message was sent: it was revoked before, or added later; simp listen --show-bad shows it]"
)

// A home server that lies about a list of keys is noticed by whoever has seen
// an earlier head of it: the real simp listen says so in these words.
func TestLyingHomeServer(t *testing.T) {
	at, port := tryOut(t, 1)
	honest := net.JoinHostPort("127.0.0.1", fmt.Sprint(port))
	l := newLiar(t, honest)
	laptop, phone, evil := deviceKey(1), deviceKey(2), deviceKey(99)
	evilPrint := signature.Fingerprint(signature.KeyID(publicOf(evil)))
	alice, err := client.Open(t.Context(), client.Config{User: mustAddress(t, "alice@example.com"), Password: testPassword, Server: honest, Security: client.Plaintext})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close(context.Background())
	add := func(key, by ed25519.PrivateKey) {
		t.Helper()
		if _, err := alice.AddKey(t.Context(), publicOf(key), "", by); err != nil {
			t.Fatal(err)
		}
	}
	add(laptop, nil)
	t.Run("it adds a key", func(t *testing.T) {
		l.tell(nil)
		v := newVictim(t, at, l, alice)
		v.says(laptop, "one")
		l.tell(addsAKey)
		v.says(evil, "two")
		l.tell(nil)
		v.says(laptop, "three")
		v.shows(`alice@example.com (signed): one
alice@example.com (signed with a new key, ` + evilPrint + `): two
alice@example.com ` + rewritten)
	})
	t.Run("it rewrites the list", func(t *testing.T) {
		l.tell(nil)
		v := newVictim(t, at, l, alice)
		v.says(laptop, "one")
		l.tell(rewritesTheList)
		v.says(evil, "two")
		v.says(laptop, "three")
		v.shows(`alice@example.com (signed): one
alice@example.com ` + rewritten + `
alice@example.com ` + rewritten)
	})
	t.Run("it hides a revocation", func(t *testing.T) {
		l.tell(nil)
		v := newVictim(t, at, l, alice)
		v.says(laptop, "one")
		add(phone, laptop)
		if _, err := alice.RevokeKey(t.Context(), signature.KeyID(publicOf(laptop))); err != nil {
			t.Fatal(err)
		}
		v.says(laptop, "two")
		v.says(phone, "three")
		l.tell(hidesRevocations)
		v.says(laptop, "four")
		v.says(phone, "five")
		l.tell(nil)
		v.says(phone, "six")
		v.shows(`alice@example.com (signed): one
alice@example.com ` + noLonger + `
alice@example.com (signed): three
alice@example.com ` + rewritten + `
alice@example.com ` + rewritten + `
alice@example.com (signed): six`)
	})
	t.Run("nothing was seen before", func(t *testing.T) { // so that nothing contradicts it
		l.tell(hidesRevocations)
		v := newVictim(t, at, l, alice)
		v.says(laptop, "one")
		v.shows("alice@example.com (signed): one")
	})
	t.Run("its list contradicts itself", func(t *testing.T) {
		l.tell(func(_ string, truth []signature.Key) []signature.Key { truth[1].Proof[0] ^= 1; return truth })
		v := newVictim(t, at, l, alice)
		v.says(phone, "one")
		v.shows("alice@example.com (bad signature): [not shown: the server's list of keys is not consistent: key \"" + signature.KeyID(publicOf(phone)) +
			"\": the proof of continuity is invalid; simp listen --show-bad shows it]")
	})
}
