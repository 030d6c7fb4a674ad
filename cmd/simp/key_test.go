package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// keys is a user's list as a home server keeps it.
type keys struct {
	list    []signature.Key
	head    signature.Head
	records int
	now     time.Time // when keys are added; zero: keyTime
}

var keyTime = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC) // an hour before the messages

func (k *keys) add(user string, key ed25519.PublicKey, by, name string, proof []byte) string {
	added := signature.Key{ID: signature.KeyID(key), Key: key, Name: name, Created: k.now, By: by, Proof: proof}
	if k.now.IsZero() {
		added.Created = keyTime
	}
	k.records++
	added.AddedAs = k.records
	k.head = k.head.NextAfterAdding(user, &added)
	k.list = append(k.list, added)
	return added.ID
}

// revoke revokes a key.
func (k *keys) revoke(user, id string, at time.Time) {
	for i := range k.list {
		if one := &k.list[i]; one.ID == id {
			k.records++
			one.Revoked, one.RevokedAs = at, k.records
			k.head = k.head.NextAfterRevoking(user, one)
		}
	}
}

// answerKeys answers KEY and KEYS. A revocation by KEY is kept in mind, no more.
func (s *site) answerKeys(l *protocol.Line) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, _ := l.Get("ima")
	if l.Verb == "KEY" {
		user = "alice@example.com"
	}
	k := s.keys[user]
	if k == nil {
		k = &keys{}
		s.keys[user] = k
	}
	if add, given := l.Get("add"); given {
		key, _ := base64.StdEncoding.DecodeString(add)
		name, _ := l.Get("name")
		by, _ := l.Get("by")
		sig, _ := l.Get("sig")
		proof, _ := base64.StdEncoding.DecodeString(sig)
		return "200 index=9 kid=" + k.add(user, key, by, name, proof)
	}
	if _, revoke := l.Get("revoke"); revoke {
		return "200 index=9"
	}
	var b strings.Builder
	for _, one := range k.list {
		fmt.Fprintf(&b, "100 kid=%s key=%s created=%s record=%d", one.ID, base64.StdEncoding.EncodeToString(one.Key), one.Created.Format(protocol.TimeFormat), one.AddedAs)
		if one.Name != "" {
			fmt.Fprintf(&b, " name=%s", protocol.Quote(one.Name))
		}
		if one.By != "" {
			fmt.Fprintf(&b, " by=%s signer=%s sig=%s", one.By, one.By, base64.StdEncoding.EncodeToString(one.Proof))
		}
		if one.RevokedAs != 0 {
			fmt.Fprintf(&b, " revoked=%s revocation=%d", one.Revoked.Format(protocol.TimeFormat), one.RevokedAs)
		}
		b.WriteString("\n")
	}
	return b.String() + "200 head=" + k.head.String()
}

func deviceKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// keyConsole is a console with a folder for keys.
func keyConsole(t *testing.T, s *site, folder string) *console {
	t.Helper()
	env := s.env()
	env["XDG_CACHE_HOME"] = folder
	return newConsole(env)
}

// say runs a command that must succeed, and returns what it printed.
func succeed(t *testing.T, s *site, folder string, args ...string) string {
	t.Helper()
	c := keyConsole(t, s, folder)
	if code := c.run(t.Context(), strings.NewReader(""), args...); code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, c.err.String())
	}
	return c.out.String()
}

// A device gets a key, with which messages are then signed as the site's other
// users verify them. A second device is vouched for by the first.
func TestKeysOfDevices(t *testing.T) {
	s, first, second := newSite(t), t.TempDir(), t.TempDir()
	if c := keyConsole(t, s, first); c.run(t.Context(), strings.NewReader(""), "send", "--sign", "bob@example.com", "hi") != 1 ||
		!strings.Contains(c.err.String(), "simp key add") {
		t.Errorf("signed without a key: %s", c.err.String())
	}
	if said := succeed(t, s, first, "key", "add", "my", "laptop"); !strings.Contains(said, "added the key of this device: ") {
		t.Errorf("add says %q", said)
	}
	if said := succeed(t, s, first, "key", "add"); !strings.Contains(said, "is in your list already") {
		t.Errorf("add says again %q", said)
	}
	info, err := os.Stat(filepath.Join(first, "simp", "h", "simp", "alice@example.com", "device.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the private key: %v, %v", info, err)
	}
	code := strings.TrimSpace(succeed(t, s, second, "key", "code"))
	succeed(t, s, first, "key", "vouch", code, "phone")
	listed := succeed(t, s, second, "key", "list")
	if !strings.Contains(listed, "my laptop\n") || !strings.Contains(listed, "phone, this device, an older device vouches for it\n") {
		t.Errorf("listed:\n%s", listed)
	}
	for _, folder := range []string{first, second} {
		if said := succeed(t, s, folder, "send", "--sign", "--id", "m1", "Bob@Example.com", "hi"); !strings.Contains(said, "delivered to Bob@example.com") {
			t.Errorf("send says %q", said)
		}
		list, err := signature.NewKeyList("alice@example.com", s.keys["alice@example.com"].list, s.keys["alice@example.com"].head)
		if err != nil {
			t.Fatal(err)
		}
		v := signature.Classify(signature.Message{
			From: "alice@example.com", Recipient: "bob@example.com", ID: "m1", Time: time.Now(), Entity: []byte(s.last()),
		}, list, signature.Knowledge{})
		if v.State != signature.Signed {
			t.Errorf("the message is %v: %v", v.State, v.Err)
		}
	}
}

// Listen says of each message whether it is signed, shows a new key as such
// once, and hides the text of a bad one.
func TestListenShowsSignatures(t *testing.T) {
	s, folder := newSite(t), t.TempDir()
	bob := &keys{}
	s.keys["bob@example.com"] = bob
	bob.add("bob@example.com", publicOf(deviceKey(1)), "", "laptop", nil)
	sign := func(key ed25519.PrivateKey, id, text string) string {
		signed, err := signature.Sign(key, signature.Claims{From: "bob@example.com", To: []string{"alice@example.com"}, ID: id, Time: keyTime.Add(time.Hour)}, []byte("\r\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return string(signed)
	}
	c := keyConsole(t, s, folder)
	wait, interrupt := begin(t, c, "listen")
	s.await("LISTEN")
	s.deliver("m0", "\r\nbefore")
	s.deliver("m1", sign(deviceKey(1), "m1", "one"))
	s.deliver("m2", "\r\ntwo")
	s.deliver("m3", sign(deviceKey(1), "m3", "three")+"!")
	s.mu.Lock()
	bob.add("bob@example.com", publicOf(deviceKey(2)), "", "", nil)
	s.mu.Unlock()
	s.deliver("m4", sign(deviceKey(2), "m4", "four"))
	s.deliver("m5", sign(deviceKey(2), "m5", "five"))
	interrupt()
	if code := wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, c.err.String())
	}
	fingerprint := signature.Fingerprint(signature.KeyID(publicOf(deviceKey(2))))
	want := `10:00:00 bob@example.com (unsigned): before
10:00:00 bob@example.com (signed): one
10:00:00 bob@example.com (unsigned, unlike before): two
10:00:00 bob@example.com (bad signature): [not shown: the signature is not that of the message and the key; simp listen --show-bad shows it]
10:00:00 bob@example.com (signed with a new key, ` + fingerprint + `): four
10:00:00 bob@example.com (signed): five
`
	if got := c.out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if said := succeed(t, s, folder, "key", "verify", "bob@example.com", fingerprint); !strings.Contains(said, "is verified") {
		t.Errorf("verify says %q", said)
	}
	if said := succeed(t, s, folder, "key", "show", "bob@example.com"); !strings.Contains(said, "verified") {
		t.Errorf("show says %q", said)
	}
}

// Whoever takes only signed messages refuses all others.
func TestListenThatRequiresSignatures(t *testing.T) {
	s := newSite(t)
	c := keyConsole(t, s, t.TempDir())
	wait, interrupt := begin(t, c, "listen", "--require-signed")
	s.await("LISTEN")
	for id, entity := range map[string]string{"m0": "\r\nunsigned", "m1": "SIMP-Signature: e..e\r\n\r\nbad"} {
		if answer := s.deliver(id, entity); answer != "486 :only signed messages are taken here" {
			t.Errorf("%s: %s", id, answer)
		}
	}
	interrupt()
	if code := wait(); code != 0 || c.out.Len() > 0 {
		t.Errorf("exit code %d, %q", code, c.out.String())
	}
}

func TestKeyCommandsRefuseNonsense(t *testing.T) {
	s, folder := newSite(t), t.TempDir()
	for _, tt := range []struct {
		want int
		args []string
		says string
	}{
		{2, []string{"key", "vouch", "AAAA"}, "invalid code"},
		{2, []string{"key", "verify", "bob@example.com"}, "fingerprint"},
		{1, []string{"key", "verify", "bob@example.com", "k3v8-0q2m-w7za-91td-6xpe"}, "has no key with the fingerprint"},
		{1, []string{"key", "revoke", "nonsense"}, "you have no key nonsense"},
		{1, []string{"key", "show"}, "simp key add"},
		{2, []string{"key", "frob"}, "unknown command"},
	} {
		c := keyConsole(t, s, folder)
		if code := c.run(t.Context(), strings.NewReader(""), tt.args...); code != tt.want || !strings.Contains(c.err.String(), tt.says) {
			t.Errorf("%q: exit code %d, %q", tt.args, code, c.err.String())
		}
	}
}

// Chat makes a key for this device at its first start and signs what it sends;
// a retry has the octets of the first time. It tells what is known of the
// signatures of others.
func TestChatSigns(t *testing.T) {
	s := newSite(t)
	bob := &keys{}
	s.keys["bob@example.com"] = bob
	bob.add("bob@example.com", publicOf(deviceKey(1)), "", "laptop", nil)
	c := newConsole(s.env())
	c.env["TERM"] = "dumb"
	typed, wait, _ := beginChat(t, c, "silent@example.com")
	say(t, typed, "signed?")
	c.await(&c.out, "-- in doubt")
	first := s.last()
	list, err := signature.NewKeyList("alice@example.com", s.keys["alice@example.com"].list, s.keys["alice@example.com"].head)
	if err != nil {
		t.Fatal(err)
	}
	m := signature.Message{From: "alice@example.com", Recipient: "silent@example.com", ID: s.lastID(), Time: time.Now(), Entity: []byte(first)}
	if v := signature.Classify(m, list, signature.Knowledge{}); v.State != signature.Signed {
		t.Errorf("the message is %v: %v", v.State, v.Err)
	}
	say(t, typed, "/retry")
	c.awaitTimes(&c.out, "-- in doubt", 2)
	if s.last() != first {
		t.Error("the retry has other octets")
	}
	signed, err := signature.Sign(deviceKey(1), signature.Claims{From: "bob@example.com", To: []string{"alice@example.com"}, ID: "m1", Time: keyTime.Add(time.Hour)}, []byte("\r\nhello"))
	if err != nil {
		t.Fatal(err)
	}
	s.deliver("m1", string(signed))
	s.deliver("m2", string(signed)) // replayed under another id
	s.deliver("m3", "\r\nplain")
	say(t, typed, "/to bob", "/reveal", "/verify")
	c.await(&c.err, "bob@example.com: "+signature.Fingerprint(signature.KeyID(publicOf(deviceKey(1))))+", laptop")
	_ = typed.Close()
	if code := wait(); code != 4 {
		t.Errorf("exit code %d", code)
	}
	for _, line := range []string{
		"10:00 <bob@example.com> hello\n", "10:00 <bob@example.com> [not shown: the message was signed with another id; /reveal shows it]\n", "10:00 <bob@example.com> plain\n",
	} {
		if !strings.Contains(c.out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, c.out.String())
		}
	}
	for _, note := range []string{
		"with a new key of this device", "from here on: signed\n", "from here on: bad signature\n", "from here on: unsigned, unlike before\n", "somebody who is not known to be bob@example.com wrote: hello\n",
	} {
		if !strings.Contains(c.err.String(), note) {
			t.Errorf("%q is missing in\n%s", note, c.err.String())
		}
	}
}
