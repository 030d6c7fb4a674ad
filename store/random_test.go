package store_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

func timeOf(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

var (
	someUsers = []string{"a@x.org", "b@x.org", "c@x.org"}
	someNodes = []string{"n1", "n2", "n.3"}
)

// TestRandomChanges applies random changes to a table, to a second one that
// is now and then thrown away and restored from a snapshot of the first, to
// a plain model, and to one that knows only what the events tell. They agree
// after each change.
func TestRandomChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, model: newModel(), first: store.New(store.Config{}), second: store.New(store.Config{}), told: map[string]protocol.Presence{}}
		for range rapid.IntRange(1, 120).Draw(t, "changes") {
			w.step()
		}
		w.restore()
	})
}

type world struct {
	*rapid.T
	model         *model
	first, second *store.Table
	told          map[string]protocol.Presence // what a watcher knows from events alone
}

func (w *world) step() {
	c := w.draw()
	w.model.clock += 1000
	before := w.model.index
	taken, why := w.model.apply(c)
	e := &storev1.Entry{MinSchema: 1, Batch: []*storev1.Batch{{Origin: "n1", TimeMs: w.model.clock, Change: []*storev1.Change{c}}}}
	r := w.both(e)
	if r.Refusal != why || r.Index != before+taken || r.Applied != (taken > 0) {
		w.Fatalf("%v: got %+v, want %d taken, %q", c, r, taken, why)
	}
	w.events(before)
	for _, user := range someUsers {
		w.compare(user)
	}
	if rapid.IntRange(0, 20).Draw(w.T, "restore") == 0 {
		w.restore()
	}
}

// both applies an entry, as the log holds it, to both tables.
func (w *world) both(e *storev1.Entry) store.Result {
	var results [2]store.Result
	for i, table := range []*store.Table{w.first, w.second} {
		e, err := store.DecodeEntry(store.EncodeEntry(e))
		if err != nil {
			w.Fatal(err)
		}
		r, err := table.Apply(e)
		if err != nil {
			w.Fatal(err)
		}
		results[i] = r[0].Results[0]
	}
	if !reflect.DeepEqual(results[0], results[1]) {
		w.Fatalf("two tables answer %+v and %+v", results[0], results[1])
	}
	return results[0]
}

// events lets a watcher see the events: one for each index.
func (w *world) events(after uint64) {
	events, ok := w.first.Events(after, 1000)
	if !ok || len(events) != int(w.model.index-after) {
		w.Fatalf("%d events (%v) after %d, at %d", len(events), ok, after, w.model.index)
	}
	for i, e := range events {
		if e.Index != after+1+uint64(i) {
			w.Fatalf("event %d follows %d", e.Index, after+uint64(i))
		}
		now := e.After.Presence()
		if was := w.told[e.Address.String()]; e.Visible != (was.State != now.State || was.Note != now.Note) {
			w.Fatalf("event %+v: %v became %v", e, was, now)
		}
		w.told[e.Address.String()] = now
	}
}

func (w *world) compare(user string) {
	a := protocol.CanonicalAddress(user)
	l, want := w.first.Listener(a), w.model.seen[user]
	if now := l.Presence(); now != want {
		w.Fatalf("%s is seen as %v, want %v", user, now, want)
	}
	if want.Address = a; w.first.Presence(a) != want {
		w.Fatalf("%s is seen as %v, want %v", user, w.first.Presence(a), want)
	}
	if l != nil {
		for _, b := range l.Bindings {
			other := b.Session
			other.Number += 1 << 40
			if !w.first.Listens(a, b.Session) || !w.first.View().Listens(a, b.Session) || w.first.Listens(a, other) {
				w.Fatalf("%s: %v is listened in, and %v is not", user, b.Session, other)
			}
		}
	}
	if view := w.first.View().Listener(a); !reflect.DeepEqual(l, view) {
		w.Fatalf("the table has %v, and its view %v", l, view)
	}
	if now := w.told[user]; now != l.Presence() {
		w.Fatalf("%s is told as %v, is %v", user, now, l.Presence())
	}
	var bindings []store.Binding
	if l != nil {
		bindings = slices.Clone(l.Bindings)
	}
	for i := range bindings {
		bindings[i].Since = time.Time{}
	}
	if want := w.model.bindings(user); !slices.Equal(bindings, want) {
		w.Fatalf("%s has\n%v, want\n%v", user, bindings, want)
	}
	var routes []string
	for _, s := range w.first.Routes(nil, a) {
		routes = append(routes, s.String())
	}
	if view := w.first.View().Routes(nil, a); !slices.Equal(view, w.first.Routes(nil, a)) {
		w.Fatalf("%s has the routes %v in the table's view, and %v in the table", user, view, routes)
	}
	if want := w.model.routes(user); !slices.Equal(routes, want) {
		w.Fatalf("%s has the routes %v, want %v", user, routes, want)
	}
	contacts := map[string]string{}
	for _, c := range w.first.Contacts(a) {
		contacts[c.Address.String()] = c.Name
	}
	if want := w.model.lists[user]; fmt.Sprint(contacts) != fmt.Sprint(want) {
		w.Fatalf("%s has the contacts %v, want %v", user, contacts, want)
	}
}

// restore replaces the second table by a snapshot of the first. Before and
// after, both are equal, with all they keep.
func (w *world) restore() {
	if w.first.View().Digest() != w.second.View().Digest() {
		w.Fatal("two tables that applied the same differ")
	}
	snapshot := octets(w.first)
	if !bytes.Equal(snapshot, octets(w.second)) {
		w.Fatal("two tables that applied the same write different snapshots")
	}
	w.second = store.New(store.Config{})
	if err := w.second.Restore(bytes.NewReader(snapshot)); err != nil {
		w.Fatal(err)
	}
	if w.first.View().Digest() != w.second.View().Digest() || !bytes.Equal(snapshot, octets(w.second)) {
		w.Fatal("the restored table is another")
	}
	for _, n := range w.first.Nodes() {
		if n.NeedsReap != (len(w.model.left(n.ID)) > 0) {
			w.Fatalf("%+v has left %v", n, w.model.left(n.ID))
		}
	}
}

func octets(t *store.Table) []byte {
	var b bytes.Buffer
	if _, err := t.Snapshot().WriteTo(&b); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (w *world) draw() *storev1.Change {
	user := rapid.SampledFrom(someUsers).Draw(w.T, "user")
	node := rapid.SampledFrom(someNodes).Draw(w.T, "node")
	n, up1 := w.model.nodes[node]
	if !up1 {
		return up(node, 1)
	}
	// Now and then an epoch, a session or a credential that was.
	epoch := n.Epoch - uint64(rapid.SampledFrom([]int{0, 0, 0, 0, 0, 1}).Draw(w.T, "epoch"))
	session := &storev1.Session{Node: node, Epoch: 1, Number: uint64(rapid.IntRange(1, 7).Draw(w.T, "session"))}
	if epoch < 1 {
		epoch = 1
	}
	switch rapid.IntRange(0, 19).Draw(w.T, "kind") {
	case 0, 1, 2, 3, 4, 5, 6, 7:
		return w.drawBind(user, session, epoch)
	case 8, 9:
		s := &storev1.SetState{Address: user, Session: session, Epoch: epoch, State: w.drawState()}
		if rapid.Bool().Draw(w.T, "with note") {
			s.Note = ptr(rapid.SampledFrom([]string{"", "x"}).Draw(w.T, "note"))
		}
		return &storev1.Change{Kind: &storev1.Change_SetState{SetState: s}}
	case 10, 11:
		return release(&storev1.Bind{Address: user, Session: session, Epoch: epoch})
	case 12:
		return up(node, uint64(rapid.IntRange(1, 2).Draw(w.T, "boot")))
	case 13:
		return ended(node, epoch)
	case 14:
		return parseWords(fmt.Sprintf("drain %s %s epoch=%d", node, rapid.SampledFrom([]string{"on", "off"}).Draw(w.T, "drain"), epoch)).change()
	case 15:
		return reap(node, uint32(rapid.IntRange(1, 3).Draw(w.T, "limit")))
	case 16:
		return parseWords(rapid.SampledFrom([]string{"delete ", "enable ", "disable "}).Draw(w.T, "verb") + user).change()
	case 17:
		return parseWords("contact " + user + rapid.SampledFrom([]string{" d@x.org", " d@x.org name=D", " d@x.org remove", " e@x.org"}).Draw(w.T, "contact")).change()
	case 18:
		return parseWords("remove " + node).change()
	}
	return w.drawAccount(user, session)
}

func (w *world) drawBind(user string, session *storev1.Session, epoch uint64) *storev1.Change {
	b := &storev1.Bind{
		Address: user, Session: session, Epoch: epoch, State: w.drawState(), Credential: w.model.accounts[user].Credential,
		Note:      rapid.SampledFrom([]string{"", "x"}).Draw(w.T, "note"),
		Exclusive: rapid.IntRange(0, 7).Draw(w.T, "exclusive") == 0,
	}
	if _, ok := w.model.accounts[user]; !ok {
		return w.drawAccount(user, session)
	}
	switch rapid.IntRange(0, 7).Draw(w.T, "bind") {
	case 0:
		b.Credential--
	case 1, 2:
		b.Rebind = uint64(rapid.IntRange(1, int(w.model.index)+1).Draw(w.T, "rebind"))
	}
	return &storev1.Change{Kind: &storev1.Change_Bind{Bind: b}}
}

func (w *world) drawState() storev1.State {
	return storev1.State(rapid.IntRange(1, 3).Draw(w.T, "state"))
}

func (w *world) drawAccount(user string, keep *storev1.Session) *storev1.Change {
	mode := rapid.SampledFrom([]string{"create", "create", "replace", "upsert"}).Draw(w.T, "mode")
	password := rapid.SampledFrom([]string{"one", "two"}).Draw(w.T, "password")
	c := parseWords(fmt.Sprintf("account %s mode=%s password=%s", user, mode, password)).change()
	c.GetPutAccount().Keep = keep
	return c
}

func ptr[T any](v T) *T { return &v }
