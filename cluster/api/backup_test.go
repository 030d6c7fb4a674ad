package api_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cluster/api"
	"simpd/cluster/api/backup"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

var (
	errUncertain = fmt.Errorf("%w: the leader was lost", store.ErrUnknown)
	errNotDone   = fmt.Errorf("%w: no leader took it", store.ErrUnavailable)
)

// fetch returns a backup of the site.
func fetch(t *testing.T, s *testSite) []byte {
	t.Helper()
	stream, err := s.cluster.Backup(t.Context(), &simpv1.BackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return file.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		if piece.Offset != uint64(file.Len()) || piece.Crc32C != backup.Sum(piece.Data) {
			t.Fatalf("the piece at %d is said to be at %d, or is damaged", file.Len(), piece.Offset)
		}
		file.Write(piece.Data)
	}
}

// restore sends a file in small pieces.
func restore(t *testing.T, s *testSite, file []byte) (*simpv1.RestoreResponse, error) {
	t.Helper()
	stream, err := s.cluster.Restore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const size = 10_000
	for offset := 0; offset < len(file); offset += size {
		data := file[offset:min(offset+size, len(file))]
		if stream.Send(&simpv1.RestoreRequest{Offset: uint64(offset), Data: data, Crc32C: backup.Sum(data)}) != nil {
			break
		}
	}
	return stream.CloseAndRecv()
}

// furnish gives a site accounts, rules and contacts.
func furnish(s *testSite, users int) {
	for i := range users {
		user := fmt.Sprintf("u%04d@example.com", i)
		s.account(user)
		s.propose(&storev1.Change{Kind: &storev1.Change_SetRule{SetRule: &storev1.SetRule{
			Owner: user, Pattern: "@elsewhere.example", Message: storev1.Permission_PERMISSION_DENY, Presence: storev1.Permission_PERMISSION_ALLOW,
		}}})
		s.propose(&storev1.Change{Kind: &storev1.Change_SetContact{SetContact: &storev1.SetContact{Owner: user, Address: "boss@example.com", Name: "The Boss"}}})
	}
	s.propose(&storev1.Change{Kind: &storev1.Change_SetDisabled{SetDisabled: &storev1.SetDisabled{Address: "u0000@example.com", Disabled: true}}})
}

// kept describes all that a backup keeps.
func kept(v store.View) string {
	var b strings.Builder
	v.Accounts(protocol.Address{}, func(a *store.Account) bool {
		fmt.Fprintln(&b, a.Address, a.Disabled, a.Created.UnixMilli(), a.Verifier, v.Rules(a.Address), v.Contacts(a.Address),
			len(a.AppPasswords()), len(a.Keys()), a.Source())
		return true
	})
	fmt.Fprintln(&b, len(v.Invitations()))
	return b.String()
}

func TestARestoredSiteIsTheOneThatWasBackedUp(t *testing.T) {
	from, to := newSite(t), newSite(t)
	furnish(from, 1500)
	to.listen("old@example.com", available, "")
	file, want := fetch(t, from), kept(from.table.View())
	before := &simpv1.Position{History: to.table.History(), Index: to.table.Index()}
	resp, err := restore(t, to, file)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Accounts != 1500 || resp.Rules != 1500 || resp.Contacts != 1500 {
		t.Errorf("restored %v", resp)
	}
	if got := kept(to.table.View()); got != want {
		t.Error("accounts, rules or contacts are not what they were")
	}
	if to.table.Listener(address("old@example.com")) != nil {
		t.Error("an old session lives on")
	}
	if now := to.table.History(); now == "h1" || now != resp.Position.History || resp.Position.Index < from.table.Index() {
		t.Errorf("the history is %s, and the answer %v", now, resp.Position)
	}
	if bytes.Equal(to.table.Secret(), []byte("secret")) {
		t.Error("the site's secret is the old one")
	}
	w := to.watch(t, &simpv1.WatchRequest{After: before})
	w.expect("reset: the history is another one", "synced")
}

func TestABackupShowsOneMoment(t *testing.T) {
	s := newSite(t)
	furnish(s, 3000)
	at := s.table.Index()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.account(fmt.Sprintf("late%d@example.com", i))
			}
		}
	}()
	contents, err := backup.Inspect(bytes.NewReader(fetch(t, s)))
	close(stop)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	if late := contents.Accounts - 3000; contents.Index-at != late {
		t.Errorf("the backup is of index %d, %d after the start, and has %d accounts of that time", contents.Index, contents.Index-at, late)
	}
}

func TestADamagedBackupChangesNothing(t *testing.T) {
	from, to := newSite(t), newSite(t)
	furnish(from, 100)
	file := fetch(t, from)
	to.account("old@example.com")
	at := to.table.Position()
	file[len(file)/2] ^= 1
	_, err := restore(t, to, file)
	wantCode(t, err, codes.InvalidArgument, "")
	_, err = restore(t, to, file[:len(file)-1])
	wantCode(t, err, codes.InvalidArgument, "")
	_, err = restore(t, to, nil)
	wantCode(t, err, codes.InvalidArgument, "")
	if to.table.Position() != at {
		t.Error("the table is another")
	}
}

// A record that the table would refuse is found before the accounts are cleared,
// though the file has the right checksum and the record would come in a later
// piece.
func TestARecordThatTheTableRefusesChangesNothing(t *testing.T) {
	from := newSite(t)
	furnish(from, 1500)
	sound := fetch(t, from)
	account := func(change func(*storev1.Account)) func(*storev1.Record) {
		return func(r *storev1.Record) {
			if a := r.GetAccount(); a != nil {
				change(a)
			}
		}
	}
	for name, damage := range map[string]func(*storev1.Record){
		"no salt":                account(func(a *storev1.Account) { a.Verifier.Salt = nil }),
		"a short key":            account(func(a *storev1.Account) { a.Verifier.StoredKey = make([]byte, 31) }),
		"no address":             account(func(a *storev1.Account) { a.Address = "u1400x" }),
		"an address in capitals": account(func(a *storev1.Account) { a.Address = "u1400X@example.com" }),
		"another site's address": account(func(a *storev1.Account) { a.Address = "u1400@example.org" }),
		"a bad app password": account(func(a *storev1.Account) {
			a.AppPassword = []*storev1.AppPassword{{Name: "phone", StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}}
		}),
		"more than an entry takes": account(func(a *storev1.Account) { a.Verifier.Salt = make([]byte, 1<<20) }),
		"rules that are none": func(r *storev1.Record) {
			if rules := r.GetRules(); rules != nil {
				rules.Rule = nil
			}
		},
		"a contact with a long name": func(r *storev1.Record) {
			if contacts := r.GetContacts(); contacts != nil {
				contacts.Contact[0].Name = strings.Repeat("x", 257)
			}
		},
		"a record of nodes": func(r *storev1.Record) {
			if r.GetContacts() != nil {
				r.Kind = &storev1.Record_Node{Node: &storev1.Node{Node: "n1"}}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			to := newSite(t)
			to.account("old@example.com")
			at := to.table.Position()
			_, err := restore(t, to, rewrite(t, sound, "u1400@example.com", damage))
			if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), "data") {
				t.Errorf("got %v", err)
			}
			if _, ok := to.table.Account(address("old@example.com")); !ok || to.table.Position() != at {
				t.Error("the table is another")
			}
		})
	}
}

// A site whose schema is older than what a backup holds would lose it: it is
// told so before anything is changed. What it knows it restores.
func TestARestoreLosesNothingAtAnOlderSchema(t *testing.T) {
	for name, tt := range map[string]struct {
		fill   func(*testSite)
		needed uint32
	}{
		"plain accounts":   {func(s *testSite) { furnish(s, 10) }, 1},
		"an app password":  {func(s *testSite) { s.appPassword("alice@example.com", "phone", 0) }, 3},
		"a key":            {func(s *testSite) { s.addKey("alice@example.com", 1) }, 4},
		"an invitation":    {func(s *testSite) { s.invitation(nil) }, 4},
		"an account owned": {func(s *testSite) { s.ownedAccount("dora@example.com", "corp") }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			from := newSite(t)
			from.account("alice@example.com")
			from.goOn()
			tt.fill(from)
			file := fetch(t, from)
			for schema := uint32(1); schema <= store.NewestSchema; schema++ {
				to := newSite(t)
				to.account("old@example.com")
				if schema > 1 {
					to.propose(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: schema}}})
				}
				at := to.table.Position()
				_, err := restore(t, to, file)
				if schema >= tt.needed {
					if err != nil || kept(to.table.View()) != kept(from.table.View()) {
						t.Errorf("schema %d: %v, or something is lost", schema, err)
					}
					continue
				}
				wantReason(t, err, codes.FailedPrecondition, "REFUSED")
				if text := fmt.Sprintf("the site's schema is %d", schema); !strings.Contains(err.Error(), text) || to.table.Position() != at {
					t.Errorf("schema %d: the table is another, or it does not say why: %v", schema, err)
				}
			}
		})
	}
}

// rewrite returns the backup with the records of a user changed.
func rewrite(t *testing.T, file []byte, user string, change func(*storev1.Record)) []byte {
	t.Helper()
	r, err := backup.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := backup.NewWriter(&out, r.Header)
	if err != nil {
		t.Fatal(err)
	}
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		if user == cmp.Or(record.GetAccount().GetAddress(), record.GetRules().GetOwner(), record.GetContacts().GetOwner()) {
			change(record)
		}
		if err := w.Write(record); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPiecesOfARestoreAreChecked(t *testing.T) {
	s := newSite(t)
	for field, r := range map[string]*simpv1.RestoreRequest{
		"offset": {Offset: 5, Data: []byte("x"), Crc32C: backup.Sum([]byte("x"))},
		"crc32c": {Data: []byte("x"), Crc32C: 1},
		"data":   {Data: make([]byte, 512<<10+1), Crc32C: backup.Sum(make([]byte, 512<<10+1))},
	} {
		stream, err := s.cluster.Restore(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(r); err != nil {
			t.Fatal(err)
		}
		_, err = stream.CloseAndRecv()
		wantCode(t, err, codes.InvalidArgument, field)
	}
}

func TestABackupOfAnotherSitesDomainsIsRefused(t *testing.T) {
	from := newSite(t)
	furnish(from, 3)
	to := newSite(t, func(c *api.Config) { c.Domains = []string{"other.example"} })
	_, err := restore(t, to, fetch(t, from))
	wantCode(t, err, codes.InvalidArgument, "data: account 1")
}

func TestHalfAFileOfACallerWhoIsGoneChangesNothing(t *testing.T) {
	from, to := newSite(t), newSite(t)
	furnish(from, 500)
	file := fetch(t, from)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := to.cluster.Restore(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&simpv1.RestoreRequest{Data: file[:1000], Crc32C: backup.Sum(file[:1000])}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := stream.CloseAndRecv(); err == nil {
		t.Fatal("half a file was restored")
	}
	if to.table.History() != "h1" {
		t.Error("half a file began a new history")
	}
}

// Who stops to read a backup does not keep what is changed meanwhile in memory.
func TestABackupThatIsNotReadEndsWhereMuchChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		name := strings.Repeat("x", 250)
		contact := func(owner, i int, name string) *storev1.Change {
			return &storev1.Change{Kind: &storev1.Change_SetContact{SetContact: &storev1.SetContact{
				Owner: fmt.Sprintf("u%04d@example.com", owner), Address: fmt.Sprintf("c%d@example.com", i), Name: name,
			}}}
		}
		furnish(s, 20)
		const each = 900
		for i := range 19 * each {
			s.propose(contact(1+i/each, i, name))
		}
		stuck, err := s.cluster.Backup(t.Context(), &simpv1.BackupRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stuck.Recv(); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for i := range 2_000 {
			s.propose(contact(1, 0, fmt.Sprint(i)))
		}
		time.Sleep(3 * time.Second)
		for err == nil {
			_, err = stuck.Recv()
		}
		wantCode(t, err, codes.DeadlineExceeded, "")
		if took := time.Since(begun); !strings.Contains(err.Error(), "too slowly while much was changed") || took > 5*time.Second {
			t.Errorf("%v after %v", err, took)
		}
		fetch(t, s)
	})
}
