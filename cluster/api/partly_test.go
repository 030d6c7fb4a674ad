package api_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// failing fails with an error after some proposals.
type failing struct {
	*directory
	after int
	err   error
}

func (f *failing) Propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	if f.after--; f.after < 0 && f.err != nil {
		return nil, f.err
	}
	return f.directory.Propose(ctx, changes...)
}

// failAfter makes a site on which the proposals after the first n fail.
func failAfter(t *testing.T, n int, err error) (*testSite, *failing) {
	f := &failing{}
	s := newSite(t, func(c *api.Config) {
		f.directory = c.Directory.(*directory)
		c.Directory = f
	})
	s.account("alice@example.com")
	f.after, f.err = n, err
	return s, f
}

// wantPartlyDone checks that err says what was done, and why not all.
func wantPartlyDone(t *testing.T, err error, code codes.Code, done, cause string) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Reason == "PARTLY_DONE" && status.Code(err) == code &&
			strings.Contains(info.Metadata["done"], done) && strings.Contains(err.Error(), done) && info.Metadata["cause"] == cause {
			return
		}
	}
	t.Errorf("got %v, with %v; want %v, PARTLY_DONE with %q and %q", err, status.Convert(err).Details(), code, done, cause)
}

func TestAnImportThatFailsSaysWhatIsImported(t *testing.T) {
	for _, c := range []struct {
		err   error
		cause string
	}{{errNotDone, "UNAVAILABLE"}, {errUncertain, "OUTCOME_UNKNOWN"}} {
		s, _ := failAfter(t, 1, c.err)
		stream, err := s.accounts.Import(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var list []*simpv1.ImportedAccount
		for i := range 300 { // more than are proposed at once
			list = append(list, &simpv1.ImportedAccount{Ima: fmt.Sprintf("u%d@example.com", i), Credential: someCredential()})
		}
		_ = stream.Send(&simpv1.ImportAccountsRequest{Account: list}) // an error of the stream comes below
		_, err = stream.CloseAndRecv()
		wantPartlyDone(t, err, codes.Aborted, "256 created", c.cause)
	}
	s, _ := failAfter(t, 0, errNotDone)
	stream, err := s.accounts.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&simpv1.ImportAccountsRequest{Account: []*simpv1.ImportedAccount{{Ima: "bob@example.com", Credential: someCredential()}}})
	_, err = stream.CloseAndRecv()
	wantReason(t, err, codes.Unavailable, "UNAVAILABLE")
}

// An error in a later request of an import hides neither what is imported, nor
// the field.
func TestAnInvalidAccountAfterImportedOnes(t *testing.T) {
	s := newSite(t)
	stream, err := s.accounts.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ima := range []string{"bob@example.com", "nobody"} {
		_ = stream.Send(&simpv1.ImportAccountsRequest{Account: []*simpv1.ImportedAccount{{Ima: ima, Credential: someCredential()}}})
	}
	_, err = stream.CloseAndRecv()
	wantCode(t, err, codes.InvalidArgument, "account[1].ima")
	wantPartlyDone(t, err, codes.InvalidArgument, "1 created", "")
}

func someCredential() *simpv1.Credential {
	return &simpv1.Credential{Kind: &simpv1.Credential_Verifier{Verifier: &simpv1.ScramVerifier{
		Salt: make([]byte, 16), Iterations: 10_000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32),
	}}}
}

func otherCredential() *simpv1.Credential {
	c := someCredential()
	c.GetVerifier().StoredKey[0] = 1
	return c
}

func TestARestoreThatFailsSaysHowFarItCame(t *testing.T) {
	full := newSite(t)
	furnish(full, 1000) // more than one piece
	file := fetch(t, full)
	for _, c := range []struct {
		after       int
		err         error
		done, cause string
	}{
		{0, errUncertain, "no user can listen", "OUTCOME_UNKNOWN"},
		{1, errNotDone, "no user can listen", "UNAVAILABLE"},
		{1, errUncertain, "no user can listen", "OUTCOME_UNKNOWN"},
	} {
		s, _ := failAfter(t, c.after, c.err)
		_, err := restore(t, s, file)
		wantPartlyDone(t, err, codes.Aborted, c.done, c.cause)
	}
	s, _ := failAfter(t, 0, errNotDone)
	_, err := restore(t, s, file)
	wantReason(t, err, codes.Unavailable, "UNAVAILABLE")
	s, f := failAfter(t, 1<<20, errNotDone)
	if _, err := restore(t, s, file); err != nil {
		t.Fatal(err)
	}
	pieces := 1<<20 - f.after - 1 // all but the history
	s, _ = failAfter(t, pieces, errNotDone)
	_, err = restore(t, s, file)
	wantPartlyDone(t, err, codes.Aborted, "history is not a new one", "UNAVAILABLE")
}

func TestADamagedBackupIsAFieldThatIsWrong(t *testing.T) {
	s := newSite(t)
	s.account("alice@example.com")
	file := fetch(t, s)
	file[len(file)-10] ^= 1
	_, err := restore(t, s, file)
	wantCode(t, err, codes.InvalidArgument, "data")
	_, err = restore(t, s, nil)
	wantCode(t, err, codes.InvalidArgument, "data")
}

func TestAKickAndADrainSayWhatIsDone(t *testing.T) {
	s := newSite(t)
	s.account("alice@example.com")
	s.nodes.err = errors.Join(errNotDone, errors.New("node n3 does not answer"))
	_, err := s.cluster.KickSession(t.Context(), &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Ima{Ima: "alice@example.com"}})
	wantPartlyDone(t, err, codes.Aborted, "2 connections are closed", "UNAVAILABLE")
	s.nodes.err = protocol.Errorf(protocol.StatusUnavailable, "1 client has not moved")
	err = ask(t.Context(), s.conn, "/simp.v1.ClusterService/Drain", &simpv1.DrainRequest{Node: "n2"})
	wantPartlyDone(t, err, codes.Aborted, "0 of 2 clients are left", "UNAVAILABLE")
}

// A node that is cut off changes nothing, and says so before it looks anything up.
func TestChangesOnACutOffNode(t *testing.T) {
	for cut, err := range map[time.Duration]error{time.Millisecond: errNotDone, 3 * time.Second: nil} {
		s := newSite(t)
		s.account("alice@example.com")
		s.fail(err, true)
		s.directory.cut(cut)
		for _, user := range []string{"alice@example.com", "new@example.com"} {
			if cut < time.Second && user != "alice@example.com" {
				continue // a node that was in touch just now knows that there is none
			}
			_, err := s.accounts.Delete(t.Context(), &simpv1.DeleteAccountRequest{Ima: user})
			wantReason(t, err, codes.Unavailable, "CUT_OFF")
			_, err = s.accounts.SetPassword(t.Context(), &simpv1.SetPasswordRequest{Ima: user, Credential: someCredential()})
			wantReason(t, err, codes.Unavailable, "CUT_OFF")
		}
		_, err := s.accounts.Create(t.Context(), &simpv1.CreateAccountRequest{Ima: "other@example.com", Credential: someCredential()})
		wantReason(t, err, codes.Unavailable, "CUT_OFF")
	}
}

func TestSendersAreRefusedWithReasons(t *testing.T) {
	s := newSecured(t)
	s.account("pager@example.com")
	send := func(from string) error {
		_, err := simpv1.NewMessageServiceClient(s.dial(t, s.dir, "service-pager")).Send(t.Context(), &simpv1.SendRequest{From: from, To: []string{"bob@example.com"}})
		return err
	}
	wantReason(t, send("alice@example.com"), codes.PermissionDenied, "SENDER_FORBIDDEN")
	s.propose(&storev1.Change{Kind: &storev1.Change_SetDisabled{SetDisabled: &storev1.SetDisabled{Address: "pager@example.com", Disabled: true}}})
	wantReason(t, send("pager@example.com"), codes.PermissionDenied, "DISABLED")
}

func TestNotFoundHasAReason(t *testing.T) {
	s := newSite(t)
	_, err := s.accounts.Get(t.Context(), &simpv1.GetAccountRequest{Ima: "bob@example.com"})
	wantReason(t, err, codes.NotFound, "NO_ACCOUNT")
	_, err = s.accounts.Delete(t.Context(), &simpv1.DeleteAccountRequest{Ima: "bob@example.com"})
	wantReason(t, err, codes.NotFound, "NO_ACCOUNT")
	_, err = s.cluster.KickSession(t.Context(), &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Session{Session: "n1.2.3"}})
	wantReason(t, err, codes.NotFound, "NO_SESSION")
	s.account("bob@example.com")
	_, err = s.accounts.Create(t.Context(), &simpv1.CreateAccountRequest{Ima: "bob@example.com", Credential: someCredential()})
	wantReason(t, err, codes.AlreadyExists, "EXISTS")
}
