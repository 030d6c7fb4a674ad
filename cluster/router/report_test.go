package router

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
	"simpd/store"
)

func (o *otherSite) Report(_ context.Context, q protocol.Report) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reports = append(o.reports, q)
	if q.Reason == protocol.ReportOther {
		return protocol.Errorf(protocol.StatusForbidden, "not wanted")
	}
	return nil
}

// reports returns what the table of a node has.
func (s *site) reports(id string) (all []*store.Report) {
	s.nodes[id].config.Table.View().Reports(0, func(r *store.Report) bool { all = append(all, r); return true })
	return all
}

// The signature of a reported message is evidence only if the reported user signed
// it for the reporter.
func TestReportsRecordWhatASignatureProves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1", "n2")
		alice, bob := s.login("alice", "n1"), s.login("bob", "n2")
		spam := protocol.Report{By: alice.who.User, About: bob.who.User, Reason: protocol.ReportSpam}
		if err := alice.Report(t.Context(), spam); err == nil {
			t.Error("a report before its schema")
		}
		s.raiseSchema()
		bob.mustAddKey(t, 1)
		private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		key := signature.Key{Key: private.Public().(ed25519.PublicKey), Name: "phone"}
		key.ID = signature.KeyID(key.Key)
		if _, err := bob.AddKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		sign := func(c signature.Claims) []byte {
			signed, err := signature.Sign(private, c, []byte("\r\nbuy this"))
			if err != nil {
				t.Fatal(err)
			}
			return signed
		}
		good := signature.Claims{From: "bob@example.com", To: []string{"alice@example.com"}, ID: "m1", Time: time.Now()}
		forOther, fromOther := good, good
		forOther.To, fromOther.From = []string{"carol@example.com"}, "carol@example.com"
		changed := sign(good)
		changed[len(changed)-1] ^= 1
		for _, tt := range []struct {
			what, id string
			entity   []byte
			want     protocol.Evidence
		}{
			{"signed", "m1", sign(good), protocol.EvidenceVerified}, {"without an id", "", sign(good), protocol.EvidenceVerified},
			{"another id", "m2", sign(good), protocol.EvidenceBad}, {"for somebody else", "m1", sign(forOther), protocol.EvidenceBad},
			{"by somebody else", "m1", sign(fromOther), protocol.EvidenceBad}, {"changed", "m1", changed, protocol.EvidenceBad},
			{"unsigned", "m1", []byte("\r\nhello"), protocol.EvidenceUnsigned}, {"none", "m1", nil, protocol.EvidenceNone},
		} {
			q := spam
			q.ID, q.Entity = tt.id, tt.entity
			must(t, alice.Report(t.Context(), q))
			all := s.reports("n2")
			if got := all[len(all)-1]; got.Signature != tt.want || (got.KeyID == key.ID) != (tt.want == protocol.EvidenceVerified) || got.Reporter != alice.who.User {
				t.Errorf("%s: %+v", tt.what, got)
			}
		}
	})
}

// A reported user of another site may keep the reporter from seeing their keys: that
// proves nothing about what they have signed.
func TestKeysThatAreNotShownProveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		eve := addr("eve@two.example")
		private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		key := signature.Key{Key: private.Public().(ed25519.PublicKey), AddedAs: 1, Created: time.Now().Add(-time.Hour)}
		key.ID = signature.KeyID(key.Key)
		other := deviceKey(1)
		other.AddedAs, other.Created = 1, key.Created
		alice := s.login("alice", "n1")
		signed, err := signature.Sign(private, signature.Claims{From: eve.String(), To: []string{"alice@example.com"}, ID: "m1", Time: time.Now()}, []byte("\r\nbuy this"))
		if err != nil {
			t.Fatal(err)
		}
		changed := append([]byte{}, signed...)
		changed[len(changed)-1] ^= 1
		for _, tt := range []struct {
			what   string
			keys   []signature.Key
			entity []byte
			want   protocol.Evidence
		}{
			{"no keys", nil, signed, protocol.EvidenceUnchecked}, {"another key", []signature.Key{other}, signed, protocol.EvidenceUnchecked},
			{"the key", []signature.Key{key}, signed, protocol.EvidenceVerified}, {"a changed message", []signature.Key{key}, changed, protocol.EvidenceBad},
		} {
			s.nodes["n1"].config.Relay = &otherSite{keys: map[protocol.Address][]signature.Key{eve: tt.keys}}
			must(t, alice.Report(t.Context(), protocol.Report{By: alice.who.User, About: eve, Reason: protocol.ReportSpam, ID: "m1", Entity: tt.entity}))
			synctest.Wait()
			all := s.reports("n1")
			if got := all[len(all)-1]; got.Signature != tt.want {
				t.Errorf("%s: %v, want %v", tt.what, got.Signature, tt.want)
			}
		}
	})
}

// A report about a user of another site is passed on, and its answer kept.
func TestReportsArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		dave := addr("dave@two.example")
		other := &otherSite{states: map[protocol.Address]protocol.State{}, watches: map[pair]func(protocol.Presence){}}
		s.nodes["n1"].config.Relay = other
		alice := s.login("alice", "n1")
		for reason, want := range map[protocol.ReportReason]protocol.Status{protocol.ReportSpam: protocol.StatusOK, protocol.ReportOther: protocol.StatusForbidden} {
			must(t, alice.Report(t.Context(), protocol.Report{By: alice.who.User, About: dave, Reason: reason, Entity: []byte("\r\nbuy")}))
			synctest.Wait()
			all := s.reports("n1")
			if got := all[len(all)-1]; got.PassedOn != want || (want != protocol.StatusOK) != (got.PassedOnText == "not wanted") {
				t.Errorf("%s: %+v", reason, got)
			}
		}
		if len(other.reports) != 2 || other.reports[0].By != alice.who.User || string(other.reports[0].Entity) != "\r\nbuy" {
			t.Errorf("passed on %+v", other.reports)
		}
		must(t, alice.Report(t.Context(), protocol.Report{By: alice.who.User, About: addr("carol@example.com"), Reason: protocol.ReportSpam}))
		synctest.Wait()
		if len(other.reports) != 2 {
			t.Error("a report about an own user was passed on")
		}
	})
}

// logged returns how many entries the site's log has.
func (s *site) logged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// A report that will be refused is not sent to all nodes, and the domains of one
// registrable domain have one share.
func TestSharesOfReportsAreCheckedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		s.raiseSchema()
		other := &otherSite{}
		s.nodes["n1"].config.Relay = other
		alice := s.login("alice", "n1")
		report := func(via string) error {
			q := protocol.Report{By: alice.who.User, About: addr("bob@example.com"), Reason: protocol.ReportSpam, Via: via}
			if via != "" {
				q.By = addr("eve@" + via)
			}
			return alice.Report(t.Context(), q)
		}
		isRefused := func(err error) bool {
			var refused *protocol.Error
			return errors.As(err, &refused) && refused.Status == protocol.StatusSlowDown
		}
		for range 100 {
			must(t, report(""))
		}
		for i := range 1000 {
			must(t, report(fmt.Sprintf("d%d.two.example", i%7)))
		}
		before := s.logged()
		if err := report(""); !isRefused(err) {
			t.Errorf("a user: %v", err)
		}
		if err := report("new.two.example"); !isRefused(err) {
			t.Errorf("a domain: %v", err)
		}
		if n := s.logged() - before; n != 0 {
			t.Errorf("%d refused reports were proposed", n)
		}
		must(t, report("notwo.example"))
	})
}

// The leader removes reports after thirty days.
func TestReportsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newQuietSite(t, "n1")
		s.nodes["n1"].config.Leads = func() bool { return true }
		s.nodes["n1"].Start(s.nodes["n1"], s.nodes["n1"])
		s.raiseSchema()
		alice := s.login("alice", "n1")
		must(t, alice.Report(t.Context(), protocol.Report{By: alice.who.User, About: addr("bob@example.com"), Reason: protocol.ReportSpam}))
		time.Sleep(store.ReportLife - time.Hour)
		synctest.Wait()
		if len(s.reports("n1")) != 1 {
			t.Error("dropped too soon")
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if len(s.reports("n1")) != 0 {
			t.Error("not dropped")
		}
	})
}
