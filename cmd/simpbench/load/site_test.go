//go:build linux

package load

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// site is a server of SIMP small enough for a test: one node, no rules, no
// time-outs, one lock.
type site struct {
	t        *testing.T
	password *Password
	refuse   string // not empty: AUTH is refused with it

	mu       sync.Mutex
	users    map[string]*talk
	watchers map[string][]*talk
	waiting  map[string]func(protocol.Status) // SENDs, by the tag of their MESSAGE
	keys     map[string]string                // in base64, by user
	alters   bool                             // it alters messages
}

// talk is one connection of a site.
type talk struct {
	net.Conn
	site *site
	r    *bufio.Reader
	user string
	bare string // the client's first message of SCRAM
	said string // and all of the exchange so far
}

// altersMessages, in place of a refusal, has a site alter messages.
const altersMessages = "alter"

// newSite starts a site, which ends with the test. With a text in refuse it
// turns everybody away.
func newSite(t *testing.T, p *Password, refuse string) netip.AddrPort {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newSiteOn(t, l, p, refuse)
}

func newSiteOn(t *testing.T, l net.Listener, p *Password, refuse string) netip.AddrPort {
	s := &site{t: t, password: p, refuse: refuse, users: map[string]*talk{}, watchers: map[string][]*talk{},
		waiting: map[string]func(protocol.Status){}, keys: map[string]string{}, alters: refuse == altersMessages}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go((&talk{Conn: c, site: s, r: bufio.NewReader(c)}).serve)
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

func (k *talk) serve() {
	defer k.Close()
	k.say("* HELLO version=SIMP/1.0 domain=bench.example")
	for {
		text, err := k.r.ReadString('\n')
		if err != nil {
			return
		}
		var l protocol.Line
		if err := protocol.ParseLine(strings.TrimSuffix(text, "\r\n"), &l); err != nil {
			k.site.t.Errorf("%q: %v", text, err)
			return
		}
		body := make([]byte, max(0, l.Literal))
		if _, err := io.ReadFull(k.r, body); err != nil {
			return
		}
		k.handle(&l, body)
	}
}

func (k *talk) say(format string, args ...any) {
	fmt.Fprintf(k, format+"\r\n", args...)
}

func (k *talk) handle(l *protocol.Line, body []byte) {
	k.site.mu.Lock()
	defer k.site.mu.Unlock()
	data, _ := l.Get("data")
	switch l.Verb {
	case "":
		k.site.waiting[l.Tag](l.Status)
	case "HELLO":
		k.say("%s 200 version=SIMP/1.0 auth=SCRAM-SHA-256", l.Tag)
	case "AUTH":
		k.auth(l.Tag, data)
	case "MORE":
		k.more(l.Tag, data)
	case "LISTEN":
		k.site.users[k.user] = k
		k.say("* EXTENSION that=nobody knows=yes")
		k.say("%s 200 session=n1.1.1 index=1", l.Tag)
	case "SEND":
		k.send(l, body)
	case "WATCH":
		k.watch(l)
	case "STATE":
		k.state(l)
	case "KEY":
		key, _ := l.Get("add")
		k.site.keys[k.user] = key
		k.say("%s 200 index=1", l.Tag)
	case "KEYS":
		k.keys(l)
	}
}

// keys lists the one key of a user.
func (k *talk) keys(l *protocol.Line) {
	user, _ := l.Get("ima")
	public, err := base64.StdEncoding.DecodeString(k.site.keys[user])
	if err != nil {
		k.site.t.Error(err)
	}
	key := signature.Key{ID: signature.KeyID(public), Key: public, Created: time.Now().Truncate(time.Millisecond).UTC(), AddedAs: 1}
	k.say("%s 100 kid=%s key=%s created=%s record=1 index=1", l.Tag, key.ID, k.site.keys[user], key.Created.Format(protocol.TimeFormat))
	k.say("%s 200 head=%s", l.Tag, signature.Head{}.NextAfterAdding(user, &key))
}

func (k *talk) auth(tag, data string) {
	if k.site.refuse != "" && !k.site.alters {
		k.say("* BYE status=503 :%s", k.site.refuse)
		k.Close()
		return
	}
	first, _ := base64.StdEncoding.DecodeString(data)
	k.bare = strings.TrimPrefix(string(first), "n,,")
	user, nonce, _ := strings.Cut(k.bare, ",r=")
	k.user = strings.TrimPrefix(user, "n=")
	salt, n, _, _ := k.site.password.Verifier()
	challenge := fmt.Sprintf("r=%sserver,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(salt), n)
	k.said = k.bare + "," + challenge
	k.say("%s 101 data=%s", tag, base64.StdEncoding.EncodeToString([]byte(challenge)))
}

func (k *talk) more(tag, data string) {
	final, _ := base64.StdEncoding.DecodeString(data)
	without, proof, _ := strings.Cut(string(final), ",p=")
	k.said += "," + without
	_, _, stored, server := k.site.password.Verifier()
	key, _ := base64.StdEncoding.DecodeString(proof)
	subtle.XORBytes(key, key, sign(stored, k.said))
	if sum := sha256.Sum256(key); string(sum[:]) != string(stored) {
		k.say("%s 401 :wrong", tag)
		return
	}
	v := "v=" + base64.StdEncoding.EncodeToString(sign(server, k.said))
	k.say("%s 200 ima=%s data=%s", tag, k.user, base64.StdEncoding.EncodeToString([]byte(v)))
}

func (k *talk) send(l *protocol.Line, body []byte) {
	name, _ := l.Get("to")
	to := k.site.users[name]
	if to == nil {
		k.say("%s 480 id=x :%s is not listening", l.Tag, name)
		return
	}
	tag := fmt.Sprintf("m%d", len(k.site.waiting))
	k.site.waiting[tag] = func(s protocol.Status) { k.say("%s %d id=x :delivered", l.Tag, int(s)) }
	if k.site.alters {
		body[len(body)-1] ^= 1
	}
	id, ok := l.Get("id")
	if !ok {
		id = "x"
	}
	fmt.Fprintf(to, "%s MESSAGE from=%s to=%s id=%s time=%s {%d}\r\n%s", tag, k.user, name, id, time.Now().UTC().Format(protocol.TimeFormat), len(body), body)
}

func (k *talk) watch(l *protocol.Line) {
	name, _ := l.Get("ima")
	k.site.watchers[name] = append(k.site.watchers[name], k)
	k.say("%s 100 ima=%s state=deaf", l.Tag, name)
	k.say("%s 200 index=1", l.Tag)
}

func (k *talk) state(l *protocol.Line) {
	state, _ := l.Get("state")
	for _, w := range k.site.watchers[k.user] {
		w.say("* PRESENCE ima=%s state=%s index=2", k.user, state)
	}
	k.say("%s 200 index=2", l.Tag)
}
