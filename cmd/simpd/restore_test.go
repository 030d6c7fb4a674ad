package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"simpd/cluster/api/backup"
	"simpd/cmd/testkit/site"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/protocol/client"
	"simpd/protocol/signature"
)

// TestRestore: a backup is taken while people chat and accounts, rules and
// contacts are written, and restored into a new site of the same name and
// keys. It is that of one moment; what there was in the new site is void, and
// a node that has the old site's data is turned away.
func TestRestore(t *testing.T) {
	old := startCrowdSite(t)
	file := backupUnderLoad(t, old)
	stop(t, old.Nodes[2])
	s := newSiteWithKeysOf(t, old)
	before := bePresent(t, s)
	succeed(t, "", "simpctl", append(s.Operator(s.Nodes[1]), "restore", file, "--yes")...)
	before.check(t, s, headerOf(t, file))
	again := filepath.Join(t.TempDir(), "again.simp")
	succeed(t, "", "simpctl", append(s.Operator(s.Nodes[2]), "backup", again)...)
	if keys := keysIn(recordsOf(t, again)); keys != 2 {
		t.Errorf("the new site has %d keys, not 2", keys)
	}
	if want, got := recordsOf(t, file), recordsOf(t, again); !slices.EqualFunc(want, got, sameRecord) {
		t.Errorf("the backup had %d accounts, rules and contacts, the new site has %d, or others", len(want), len(got))
	}
	for _, n := range old.Nodes[:2] {
		n.Kill() // or the third one would find its own site
	}
	refuseOldNode(t, s, old.Nodes[2].Dir)
}

// backupUnderLoad takes a backup of a busy site at its third node, and checks
// that it shows one moment of what one writer writes at the first.
func backupUnderLoad(t *testing.T, s *site.Site) (file string) {
	t.Helper()
	c := gather(t, s, 2, 1)
	var wrote atomic.Int64
	services := call(t, s, s.Nodes[0], "")
	rest := pacing(10*time.Millisecond, func(i int) {
		var err error
		for range 100 { // a starved node may be cut off for a moment
			if err = writeOne(t, c, services, i); err == nil {
				wrote.Add(1)
				return
			}
		}
		t.Errorf("step %d: %v", i, err)
	})
	eventually(t, "much is written", func() bool { return wrote.Load() >= 30 })
	c.chatOn()
	file = filepath.Join(t.TempDir(), "site.simp")
	addKeys(t, c.chatters[0])
	begun := wrote.Load()
	succeed(t, "", "simpctl", append(s.Operator(s.Nodes[2]), "backup", file)...)
	ended := wrote.Load()
	eventually(t, "it is written on", func() bool { return wrote.Load() > ended })
	c.chatOn()
	rest()
	c.goHome()
	if said := succeed(t, "", "simpctl", "backup", "inspect", file); !strings.Contains(said, "is sound: ") {
		t.Errorf("inspect: %s", said)
	}
	checkMoment(t, recordsOf(t, file), wrote.Load())
	t.Logf("%d steps were written before the backup, %d when it was there, %d in the end", begun, ended, wrote.Load())
	return file
}

// addKeys adds two keys, of which the first vouches for the second, and revokes
// the first.
func addKeys(t *testing.T, c *client.Client) {
	t.Helper()
	first, second := deviceKey(1), deviceKey(2)
	_, err := c.AddKey(t.Context(), publicOf(first), "laptop", nil)
	if err == nil {
		_, err = c.AddKey(t.Context(), publicOf(second), "phone", first)
	}
	if err == nil {
		_, err = c.RevokeKey(t.Context(), signature.KeyID(publicOf(first)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// writeOne is one step of the writer: an account, then a rule, then a contact.
func writeOne(t *testing.T, c *crowd, s *services, i int) error {
	verifier := &simpv1.ScramVerifier{Salt: make([]byte, 16), Iterations: 10_000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}
	_, err := s.accounts.Create(t.Context(), &simpv1.CreateAccountRequest{
		Ima: fmt.Sprintf("w%d@example.com", i), Credential: &simpv1.Credential{Kind: &simpv1.Credential_Verifier{Verifier: verifier}},
	})
	if err != nil && status.Code(err) != codes.AlreadyExists {
		return err
	}
	pattern, err := protocol.ParsePattern(fmt.Sprintf("@w%d.example", i))
	if err != nil {
		return err
	}
	writer := c.chatters[0] // at the node where accounts are made
	if err := writer.SetRule(t.Context(), protocol.Rule{Who: pattern, Presence: protocol.Allow}); err != nil {
		return err
	}
	return writer.SetContact(t.Context(), protocol.Contact{Address: c.address(fmt.Sprintf("w%d", i)), Name: fmt.Sprint(i)})
}

// checkMoment: of the writer's steps there are those up to one moment, all of them.
func checkMoment(t *testing.T, records []*storev1.Record, wrote int64) {
	t.Helper()
	var accounts, rules, contacts int64
	for _, r := range records {
		switch {
		case strings.HasPrefix(r.GetAccount().GetAddress(), "w") && !strings.HasPrefix(r.GetAccount().GetAddress(), "watch"):
			accounts++
		case r.GetRules() != nil:
			rules += int64(len(r.GetRules().Rule))
		case r.GetContacts() != nil:
			contacts += int64(len(r.GetContacts().Contact))
		}
	}
	if accounts < rules || rules < contacts || contacts < accounts-1 || accounts == 0 || accounts >= wrote {
		t.Errorf("the backup has %d accounts, %d rules and %d contacts of %d steps", accounts, rules, contacts, wrote)
	}
}

func openBackup(t *testing.T, file string) *backup.Reader {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	r, err := backup.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// headerOf is the position that a backup shows.
func headerOf(t *testing.T, file string) *simpv1.Position {
	t.Helper()
	h := openBackup(t, file).Header
	return &simpv1.Position{History: h.History, Index: h.Index}
}

// recordsOf are all records of a backup.
func recordsOf(t *testing.T, file string) (all []*storev1.Record) {
	t.Helper()
	for b := openBackup(t, file); ; {
		r, err := b.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
}

// keysIn counts the keys of all accounts.
func keysIn(records []*storev1.Record) (n int) {
	for _, r := range records {
		n += len(r.GetAccount().GetKey())
	}
	return n
}

// sameRecord compares but for the indexes of an account's credential and keys,
// which are of its own history.
func sameRecord(a, b *storev1.Record) bool {
	for _, r := range []*storev1.Record{a, b} {
		if account := r.GetAccount(); account != nil {
			account.Credential = 0
			for _, k := range account.Key {
				k.Index = 0
			}
		}
	}
	return proto.Equal(a, b)
}

// newSiteWithKeysOf starts another site of the same name with the same keys.
func newSiteWithKeysOf(t *testing.T, old *site.Site) *site.Site {
	t.Helper()
	s := newCrowdSite(t)
	if err := os.RemoveAll(s.Key("")); err != nil {
		t.Fatal(err)
	}
	succeed(t, "", "cp", "-a", old.Key(""), s.Key(""))
	if err := s.BeginAll(); err != nil {
		t.Fatal(err)
	}
	return s
}

// presences are what a site had before a restore.
type presences struct {
	clients  []*process // listen, as users of whom the backup knows one
	sessions []*simpv1.UserSession
	running  *viewer
	at       *simpv1.Position
	token    string
}

// bePresent fills a site that will be restored.
func bePresent(t *testing.T, s *site.Site) *presences {
	t.Helper()
	if err := s.AddUsers(s.Nodes[0], "chat0", "gone"); err != nil {
		t.Fatal(err)
	}
	p, here := &presences{}, call(t, s, s.Nodes[0], "")
	t.Setenv("SIMP_PASSWORD", testPassword)
	for i, user := range []string{"chat0", "gone"} {
		p.clients = append(p.clients, listenAt(t, s, i, user))
	}
	p.running = follow(t, here, nil)
	eventually(t, "both are seen", func() bool {
		return p.running.has("chat0@example.com available") == 1 && p.running.has("gone@example.com available") == 1 && p.running.has("synced") == 1
	})
	list, err := here.cluster.ListSessions(soon(t), &simpv1.ListSessionsRequest{})
	if err != nil || len(list.Session) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	page, err := here.accounts.List(soon(t), &simpv1.ListAccountsRequest{PageSize: 1})
	if err != nil || page.NextPageToken == "" {
		t.Fatalf("%v, %v", page, err)
	}
	p.sessions, p.token, p.at = list.Session, page.NextPageToken, p.running.position()
	return p
}

// check: after the restore nothing of it is good any more, nor is what the
// site of the backup gave.
func (p *presences) check(t *testing.T, s *site.Site, backedUp *simpv1.Position) {
	t.Helper()
	eventually(t, "the running watch is reset, and goes on", func() bool {
		return p.running.has("reset: the history is another one") == 1 && p.running.position().History != p.at.History
	})
	for _, client := range p.clients {
		if code := client.exit(); code != 1 {
			t.Errorf("whose account or password is another one: exit code %d", code)
		}
	}
	for i, n := range s.Nodes {
		there := call(t, s, n, "")
		for _, old := range []*simpv1.Position{p.at, backedUp} {
			v := follow(t, there, old)
			eventually(t, "an old position is answered", func() bool { return v.first() != "" })
			if first := v.first(); first != "reset: the history is another one" {
				t.Errorf("%s: the old position %v is answered by %q", n.ID, old, first)
			}
		}
		if _, err := there.accounts.List(soon(t), &simpv1.ListAccountsRequest{PageSize: 1, PageToken: p.token}); status.Code(err) != codes.Aborted {
			t.Errorf("%s: an old page token: %v", n.ID, err)
		}
		if _, err := there.cluster.KickSession(soon(t), &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Session{Session: p.sessions[i%2].Session.Id}}); status.Code(err) != codes.NotFound {
			t.Errorf("%s: an old session: %v", n.ID, err)
		}
	}
	now, err := call(t, s, s.Nodes[2], "").presence.Get(soon(t), &simpv1.GetRequest{Ima: []string{"gone@example.com"}, Fresh: true})
	if err != nil || now.Presence[0].State != simpv1.State_STATE_DEAF || now.Position.Index <= backedUp.Index {
		t.Errorf("%v, %v", now, err)
	}
	chat0 := listenAt(t, s, 0, "chat0")
	succeed(t, "", "simp", append(s.Person(s.Nodes[1], "chat1"), "send", "chat0@example.com", "still there?")...)
	chat0.await(chat0.out, "still there?")
	eventually(t, "the watch sees it", func() bool { return p.running.has("chat0@example.com available") == 2 })
}

// listenAt starts simp listen as a user at a node.
func listenAt(t *testing.T, s *site.Site, i int, user string) *process {
	t.Helper()
	p := start(t, "simp", append(s.Person(s.Nodes[i], user), "listen")...)
	p.await(p.err, "is listening")
	return p
}

// refuseOldNode: a node with the old site's data is told so and ends, and the
// site goes on; with its own data it is part of it.
func refuseOldNode(t *testing.T, s *site.Site, data string) {
	t.Helper()
	n := s.Nodes[2]
	own := n.Dir
	stop(t, n)
	n.Dir = data
	if err := n.Begin(); err != nil {
		t.Fatal(err)
	}
	if code, err := n.Ended(patience); err != nil || code != 1 || !strings.Contains(n.Said(), "has another cluster ID of the site example.com than n") {
		t.Errorf("a node with old data: exit code %d, %v\n%s", code, err, n.Said())
	}
	want, err := call(t, s, s.Nodes[0], "").presence.Get(soon(t), &simpv1.GetRequest{Ima: []string{"chat0@example.com"}, Fresh: true})
	if err != nil {
		t.Fatal(err)
	}
	n.Dir = own
	if err := n.Begin(); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(patience); err != nil {
		t.Fatalf("%v\n%s", err, n.Said())
	}
	got, err := call(t, s, n, "").presence.Get(soon(t), &simpv1.GetRequest{Ima: []string{"chat0@example.com"}, Fresh: true})
	if err != nil || got.Position.History != want.Position.History || !proto.Equal(got.Presence[0], want.Presence[0]) {
		t.Errorf("with its own data it says %v, %v; the others %v", got, err, want)
	}
}
