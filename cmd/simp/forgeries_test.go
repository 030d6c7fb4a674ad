package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

var forgeryCount = flag.Int("forgeries", 1000, "how many forged messages TestNoForgeryIsShownAsSigned delivers")

const (
	forgedAlice = "alice@example.com" // the recipient
	forgedBob   = "bob@example.com"   // whose messages are forged
)

// forger delivers forged messages to simp listen, in fake time, and reads what
// it shows.
type forger struct {
	t    *testing.T
	r    *rand.Rand
	site *site
	out  *console
	read int // octets of the output
	n    int // ids and tags that were used

	live, revoked, unborn, stranger ed25519.PrivateKey
}

// delivery is a message as the server hands it over.
type delivery struct {
	from, id string
	at       time.Time
	entity   []byte
}

// newPipeSite is newSite for fake time: programs connect by dial.
func newPipeSite(t *testing.T) *site {
	s := &site{t: t, addr: "127.0.0.1:7467", data: t.TempDir(), answers: map[string]string{}, keys: map[string]*keys{}}
	s.changed = sync.NewCond(&s.mu)
	return s
}

func (s *site) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	s.mu.Lock()
	s.conn = there
	s.mu.Unlock()
	s.wg.Go(func() { s.serve(there) })
	return here, nil
}

// newForger gives bob's list a live key, one that was revoked a minute ago, and
// one that is added in an hour. The same live key is in the lists
// of two other addresses.
func newForger(t *testing.T, s *site) *forger {
	f := &forger{
		t: t, r: rand.New(rand.NewPCG(1, 2)), site: s,
		live: deviceKey(1), revoked: deviceKey(2), unborn: deviceKey(3), stranger: deviceKey(4),
	}
	bob := &keys{now: time.Now().Add(-time.Hour)}
	bob.add(forgedBob, publicOf(f.live), "", "", nil)
	bob.revoke(forgedBob, bob.add(forgedBob, publicOf(f.revoked), "", "", nil), time.Now().Add(-time.Minute))
	bob.now = time.Now().Add(time.Hour)
	bob.add(forgedBob, publicOf(f.unborn), "", "", nil)
	s.keys[forgedBob] = bob
	for _, thief := range []string{"bob@example.net", "mallory@example.com"} {
		s.keys[thief] = &keys{now: time.Now().Add(-time.Hour)}
		s.keys[thief].add(thief, publicOf(f.live), "", "", nil)
	}
	return f
}

func (f *forger) text() []byte {
	b := []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n")
	for range 1 + f.r.IntN(60) {
		b = append(b, " abcdefghijklmnopqrstuvwxyz"[f.r.IntN(27)])
	}
	return b
}

// claims returns what an honest message of bob's says now.
func (f *forger) claims() signature.Claims {
	f.n++
	return signature.Claims{From: forgedBob, To: []string{"carol@example.org", forgedAlice}, ID: fmt.Sprint("m", f.n), Time: time.Now()}
}

func (f *forger) signed(by ed25519.PrivateKey, c signature.Claims) delivery {
	entity, err := signature.Sign(by, c, f.text())
	if err != nil {
		f.t.Fatal(err)
	}
	return delivery{from: forgedBob, id: c.ID, at: time.Now(), entity: entity}
}

func (f *forger) honest() delivery { return f.signed(f.live, f.claims()) }

// withClaims is signed with bob's live key, and says something else.
func (f *forger) withClaims(change func(c *signature.Claims)) delivery {
	c := f.claims()
	id := c.ID
	change(&c)
	d := f.signed(f.live, c)
	d.id = id
	return d
}

// withHeader is signed with bob's live key over another protected header.
func (f *forger) withHeader(old, new string) delivery {
	c := f.claims()
	header := fmt.Sprintf(`{"alg":"EdDSA","kid":%q,"b64":false,"crit":["b64"],"orig":%q,"dest":[%q],"id":%q,"iat":%d}`,
		signature.KeyID(publicOf(f.live)), c.From, forgedAlice, c.ID, c.Time.Unix())
	changed := strings.Replace(header, old, new, 1)
	if changed == header {
		f.t.Fatalf("%q is not in the header", old)
	}
	encoded, payload := base64.RawURLEncoding.EncodeToString([]byte(changed)), f.text()
	sig := ed25519.Sign(f.live, slices.Concat([]byte(encoded+"."), payload))
	field := "SIMP-Signature: " + encoded + ".." + base64.RawURLEncoding.EncodeToString(sig) + "\r\n"
	return delivery{from: forgedBob, id: c.ID, at: c.Time, entity: append([]byte(field), payload...)}
}

// edited is an honest message whose octets are changed.
func (f *forger) edited(change func(b []byte) []byte) delivery {
	d := f.honest()
	d.entity = change(bytes.Clone(d.entity))
	return d
}

func (f *forger) oneOf(texts ...string) string { return texts[f.r.IntN(len(texts))] }

// minutes returns 301 seconds to some hours, before or after.
func (f *forger) minutes() time.Duration {
	d := time.Duration(301+f.r.IntN(10_000)) * time.Second
	if f.r.IntN(2) == 0 {
		return -d
	}
	return d
}

// forgeries are the kinds of forged messages, but for those that are replayed.
var forgeries = map[string]func(f *forger) delivery{
	"forged by a stranger": func(f *forger) delivery { return f.signed(f.stranger, f.claims()) },
	"forged in bob's key's name": func(f *forger) delivery {
		d := f.signed(f.stranger, f.claims())
		d.entity = swapKeyID(f.t, d.entity, f.stranger, f.live)
		return d
	},
	"altered by a bit": func(f *forger) delivery {
		return f.edited(func(b []byte) []byte { b[f.r.IntN(len(b))] ^= 1 << f.r.IntN(8); return b })
	},
	"altered by an octet": func(f *forger) delivery {
		return f.edited(func(b []byte) []byte {
			return slices.Insert(b, f.r.IntN(len(b)+1), byte(f.r.IntN(256)))
		})
	},
	"the text of another message": func(f *forger) delivery {
		field, _, _ := bytes.Cut(f.honest().entity, []byte("\r\n"))
		return f.edited(func(b []byte) []byte {
			_, payload, _ := bytes.Cut(b, []byte("\r\n"))
			return slices.Concat(field, []byte("\r\n"), payload)
		})
	},
	"redirected": func(f *forger) delivery {
		return f.withClaims(func(c *signature.Claims) {
			c.To = []string{f.oneOf("carol@example.org", "alice@example.net", "bob@example.com")}
		})
	},
	"of another user": func(f *forger) delivery {
		return f.withClaims(func(c *signature.Claims) { c.From = f.oneOf("carol@example.com", "bobby@example.com") })
	},
	"cross-domain": func(f *forger) delivery {
		d := f.honest()
		d.from = f.oneOf("bob@example.net", "mallory@example.com")
		return d
	},
	"under another id": func(f *forger) delivery { return f.withClaims(func(c *signature.Claims) { c.ID += "x" }) },
	"signed at another time": func(f *forger) delivery {
		return f.withClaims(func(c *signature.Claims) { c.Time = c.Time.Add(f.minutes()) })
	},
	"delivered at another time": func(f *forger) delivery {
		d := f.honest()
		d.at = d.at.Add(f.minutes())
		return d
	},
	"by a revoked key":     func(f *forger) delivery { return f.signed(f.revoked, f.claims()) },
	"by a key of tomorrow": func(f *forger) delivery { return f.signed(f.unborn, f.claims()) },
	"duplicate member": func(f *forger) delivery {
		name := f.oneOf("alg", "kid", "b64", "crit", "orig", "dest", "id", "iat")
		return f.withHeader("{", `{"`+f.oneOf(name, fmt.Sprintf(`\u%04x`, name[0])+name[1:])+`":0,`)
	},
	"duplicate with its value": func(f *forger) delivery {
		return f.withHeader("{", `{`+f.oneOf(`"alg":"EdDSA",`, `"b64":false,`, `"crit":["b64"],`, `"\u0061lg":"EdDSA",`))
	},
	"header changed": func(f *forger) delivery {
		pair := [][2]string{
			{"EdDSA", "none"}, {"EdDSA", "HS256"}, {`"b64":false`, `"b64":true`}, {`"b64":false,`, ""}, {`["b64"]`, `["b64","exp"]`},
			{`["b64"]`, `["exp"]`}, {`"crit":["b64"],`, ""}, {`"iat":`, `"iat":1`}, {`"kid"`, `"KID"`}, {"}", "}{}"}, {"}", ""}, {"{", "[{"},
		}[f.r.IntN(12)]
		return f.withHeader(pair[0], pair[1])
	},
	"second field": func(f *forger) delivery {
		other := f.honest().entity
		field, _, _ := bytes.Cut(other, []byte("\r\n"))
		return f.edited(func(b []byte) []byte {
			first, rest, _ := bytes.Cut(b, []byte("\r\n"))
			return [][]byte{
				slices.Concat(field, []byte("\r\n"), b), slices.Concat(b[:len(first)+2], field, []byte("\r\n"), rest),
				slices.Concat(first, []byte("\r\nsimp-signature : x\r\n"), rest), slices.Concat(first, []byte("\nSIMP-Signature: a..b\r\n"), rest),
			}[f.r.IntN(4)]
		})
	},
	"field that is not first": func(f *forger) delivery {
		return f.edited(func(b []byte) []byte { return append([]byte(f.oneOf("Subject: x\r\n", "X:\r\n", " x: y\r\n")), b...) })
	},
	"field in another form": func(f *forger) delivery {
		old, new := f.oneOf("SIMP-Signature: ", ".."), f.oneOf("simp-signature: ", "SIMP-Signature:", "SIMP-Signature :", "SIMP-Signature: \r\n ", ".")
		return f.edited(func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) })
	},
	"truncated": func(f *forger) delivery { return f.edited(func(b []byte) []byte { return b[:f.r.IntN(len(b))] }) },
}

// swapKeyID replaces the key that a signature names.
func swapKeyID(t *testing.T, entity []byte, from, to ed25519.PrivateKey) []byte {
	head, rest, _ := bytes.Cut(entity, []byte(".."))
	header, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(string(head), "SIMP-Signature: "))
	if err != nil {
		t.Fatal(err)
	}
	swapped := strings.Replace(string(header), signature.KeyID(publicOf(from)), signature.KeyID(publicOf(to)), 1)
	return slices.Concat([]byte("SIMP-Signature: "+base64.RawURLEncoding.EncodeToString([]byte(swapped))+".."), rest)
}

// deliver hands a message over, and returns the states that were shown since:
// none, if the message was not shown.
func (f *forger) deliver(d delivery) (answer string, shown []string) {
	f.n++
	tag := fmt.Sprint("t", f.n)
	f.site.mu.Lock()
	fmt.Fprintf(f.site.conn, "%s MESSAGE from=%s to=%s id=%s time=%s {%d}\r\n%s", tag, d.from, forgedAlice, d.id, d.at.UTC().Format(protocol.TimeFormat), len(d.entity), d.entity)
	for f.site.answers[tag] == "" {
		f.site.changed.Wait()
	}
	answer = f.site.answers[tag]
	f.site.mu.Unlock()
	f.out.mu.Lock()
	defer f.out.mu.Unlock()
	for line := range bytes.Lines(f.out.out.Bytes()[f.read:]) {
		var m messageJSON
		if err := json.Unmarshal(line, &m); err != nil {
			f.t.Fatalf("%q: %v", line, err)
		}
		f.read += len(line)
		shown = append(shown, m.Signature)
		if m.Key != "" && m.Signature != "signed" {
			f.t.Errorf("a message that is %s names a key", m.Signature)
		}
	}
	return answer, shown
}

// wantSigned delivers an honest message, which is shown as signed.
func (f *forger) wantSigned(d delivery) {
	f.t.Helper()
	if answer, shown := f.deliver(d); answer != "200" || !slices.Equal(shown, []string{"signed"}) {
		f.t.Fatalf("an honest message: %s, shown as %q", answer, shown)
	}
}

// wantHidden delivers a message that must not be shown as signed.
func (f *forger) wantHidden(kind string, d delivery) (shown []string) {
	f.t.Helper()
	answer, shown := f.deliver(d)
	if len(shown) > 1 || slices.Contains(shown, "signed") || slices.Contains(shown, "new key") {
		f.t.Errorf("%s: %s, shown as %q: %q", kind, answer, shown, d.entity)
	}
	return shown
}

// replay delivers honest messages, and again after a second and after 6 and 12
// minutes, under their own id and under others.
func (f *forger) replay(n int) (count int) {
	var before []delivery
	for range n {
		d := f.honest()
		f.wantSigned(d)
		before = append(before, d)
	}
	for _, pause := range []time.Duration{time.Second, 6*time.Minute - time.Second, 6 * time.Minute} {
		time.Sleep(pause)
		for _, d := range before {
			d.at = time.Now()
			f.wantHidden("replayed", d)
			f.n++
			d.id = fmt.Sprint("again", f.n)
			if shown := f.wantHidden("replayed under another id", d); !slices.Equal(shown, []string{"bad"}) {
				f.t.Errorf("replayed under another id: shown as %q", shown)
			}
			count += 2
		}
	}
	return count
}

// Of thousands of messages that are forged, altered, replayed, redirected, and
// so on, simp listen shows none as signed; honest ones between them it does.
func TestNoForgeryIsShownAsSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeSite(t)
		f := newForger(t, s)
		c := keyConsole(t, s, t.TempDir())
		f.out, c.dial = c, s.dial
		wait, interrupt := begin(t, c, "--output", "json", "listen")
		s.await("LISTEN")
		f.wantSigned(f.honest())
		kinds := slices.Sorted(maps.Keys(forgeries))
		count := map[string]int{}
		total := f.replay(max(1, *forgeryCount/24)) // a quarter of all
		for i := 0; total < *forgeryCount; i++ {
			kind := kinds[i%len(kinds)]
			for _, state := range append(f.wantHidden(kind, forgeries[kind](f)), "in all") {
				count[kind+": "+state]++
			}
			if total++; i%10 == 0 {
				f.wantSigned(f.honest())
			}
		}
		interrupt()
		if code := wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, c.err.String())
		}
		s.wg.Wait()
		t.Logf("%d forged messages, of which %d were shown as bad, and %v", total, bytes.Count(c.out.Bytes(), []byte(`"signature":"bad"`)), count)
	})
}
