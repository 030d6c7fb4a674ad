package server

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// No session is resumed, so that none outlives a certificate.
func TestNoResumption(t *testing.T) {
	h := newHarbour(t, nil)
	config := h.trusted.Clone()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 2 {
		c := h.client(tls.Dial("tcp", h.tls, config))
		c.expect("* HELLO <rest>")
		if c.Conn.(*tls.Conn).ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
	}
}

// What is held for all clients together has a limit. Whoever holds more
// than their share is refused, and nobody else is.
func TestMemoryBudget(t *testing.T) {
	play(t, func(c *Config) { c.MaxHeld = 800 << 10 }, func(s *stage) {
		bob, carol, alice := s.listen("bob"), s.listen("carol"), s.login("alice")
		big := strings.Repeat("x", 50<<10)
		for range 2 { // each is held as a request and as a message
			alice.write("1 SEND to=bob@example.com {51200}\r\n" + big)
			bob.message()
		}
		alice.write("2 SEND to=carol@example.com {51200}\r\n" + big)
		alice.expect("2 429 id=<any> retry=1 :too much is unanswered on this connection")
		alice.send("3 PING")
		alice.expect("3 200")
		other := s.login("carol")
		other.write("1 SEND to=carol@example.com {8192}\r\n" + big[:8192])
		tag, _ := carol.message()
		carol.send("%s 200", tag)
		other.expect("1 200 <rest>")
		bob.send("m1 200")
		alice.expect("1 200 <rest>")
		alice.write("4 SEND to=carol@example.com {1}\r\nx")
		tag, _ = carol.message()
		carol.send("%s 200", tag)
		alice.expect("4 200 <rest>")
	})
}

func TestTheBiggestIsCutOff(t *testing.T) {
	play(t, func(c *Config) { c.MaxHeld = 60 << 10 }, func(s *stage) {
		bob := s.login("bob")
		greedy := s.connect(64)
		greedy.expect("* HELLO <rest>")
		greedy.login("alice")
		for s.server.metrics.Shed.Load() == 0 {
			if _, err := greedy.Write([]byte("1 PING\r\n")); err != nil {
				break
			}
			synctest.Wait() // until the server has seen that it is too much
		}
		bob.send("1 PING")
		bob.expect("1 200")
		if s.server.metrics.Shed.Load() != 1 {
			t.Errorf("%d were cut off, not one", s.server.metrics.Shed.Load())
		}
		time.Sleep(time.Second)
		if held := s.server.Held(); held != 0 {
			t.Errorf("%d octets are still held", held)
		}
	})
}

// What clients say is not logged: no body, no password, no terminal code.
func TestNothingSecretIsLogged(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &logged}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	const canary = "canary\x1b[31m"
	play(t, func(c *Config) { c.Logger = log }, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		alice.write("1 SEND to=bob@example.com {11}\r\n" + canary)
		tag, _ := bob.message()
		bob.send("%s 486 :canary", tag)
		alice.expect("1 486 <rest>")
		alice.send("2 PASSWD data=%s", b64("secret\x00canary1"))
		alice.expect("2 200")
		alice.send("3 LISTEN note=canary state=canary")
		alice.expect("3 400 <rest>")
		alice.write("canary\x1b\r\n\xff\r\n")
		alice.expect("* ERROR <rest>")
		alice.expect("* BYE <rest>")
	})
	for _, secret := range []string{"canary", "secret", "\x1b"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("%q was logged: %s", secret, logged.String())
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to *bytes.Buffer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// What is needed to check a login has to be there.
func TestMissingConfiguration(t *testing.T) {
	for name, c := range map[string]Config{
		"no site": {Domains: []string{"example.com"}}, "no domain": {Backend: newSite(t)},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: a server was made", name)
		}
	}
	s, err := New(Config{Backend: newSite(t), Domains: []string{"example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ServeTLS(newMemListener()); err == nil {
		t.Error("TLS was served without a certificate")
	}
}
