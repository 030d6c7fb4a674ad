package api_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

func password(p string) *simpv1.Credential {
	return &simpv1.Credential{Kind: &simpv1.Credential_Password{Password: p}}
}

func verifierOf(t *testing.T, p string, salt []byte) *simpv1.Credential {
	t.Helper()
	c, err := protocol.NewCredentials(p, salt, protocol.ScramIterations)
	if err != nil {
		t.Fatal(err)
	}
	return &simpv1.Credential{Kind: &simpv1.Credential_Verifier{Verifier: &simpv1.ScramVerifier{
		Salt: c.Salt, Iterations: uint32(c.Iterations), StoredKey: c.StoredKey, ServerKey: c.ServerKey,
	}}}
}

// emptyVerifierOf is what somebody else's program made of the empty password.
func emptyVerifierOf(t *testing.T) *simpv1.Credential {
	t.Helper()
	c, err := protocol.EmptyCredentials([]byte("0123456789abcdef"), protocol.ScramIterations)
	if err != nil {
		t.Fatal(err)
	}
	return &simpv1.Credential{Kind: &simpv1.Credential_Verifier{Verifier: &simpv1.ScramVerifier{
		Salt: c.Salt, Iterations: uint32(c.Iterations), StoredKey: c.StoredKey, ServerKey: c.ServerKey,
	}}}
}

// An import names the account whose verifier is the empty password's, and
// takes none of its request.
func TestImportRefusesTheEmptyPasswordsVerifier(t *testing.T) {
	s := newSite(t)
	stream, err := s.accounts.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good := &simpv1.ImportedAccount{Ima: "a@example.com", Credential: verifierOf(t, "x", []byte("0123456789abcdef"))}
	bad := &simpv1.ImportedAccount{Ima: "b@example.com", Credential: emptyVerifierOf(t)}
	for _, list := range [][]*simpv1.ImportedAccount{{good}, {{Ima: "c@example.com", Credential: password("x")}, bad}} {
		if err := stream.Send(&simpv1.ImportAccountsRequest{Account: list}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = stream.CloseAndRecv()
	wantCode(t, err, codes.InvalidArgument, "account[2].credential.verifier")
	if _, there := s.table.Account(address("c@example.com")); there {
		t.Error("part of the request was taken")
	}
}

// wantCode checks an error's code, and the field that its details name.
func wantCode(t *testing.T, err error, code codes.Code, field string) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("got %v, want %v", err, code)
	}
	if field != "" && !slices.Contains(violations(err), field) {
		t.Fatalf("got violations of %q in %v, want of %q", violations(err), err, field)
	}
}

func violations(err error) (names []string) {
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.FieldViolations {
				names = append(names, v.Field)
			}
		}
	}
	return names
}

func TestAnAccountsLife(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	made, err := s.accounts.Create(ctx, &simpv1.CreateAccountRequest{Ima: "Alice@EXAMPLE.com", Credential: password("secret")})
	if err != nil {
		t.Fatal(err)
	}
	if made.Account.Ima != "alice@example.com" || made.Position.History != "h1" || made.Position.Index != s.table.Index() {
		t.Fatalf("made %v", made)
	}
	a, _ := s.table.Account(address("alice@example.com"))
	if !a.Credentials().Fits("secret") {
		t.Fatal("the password does not fit")
	}
	_, err = s.accounts.Create(ctx, &simpv1.CreateAccountRequest{Ima: "alice@example.com", Credential: password("other")})
	wantCode(t, err, codes.AlreadyExists, "")
	if _, err := s.accounts.SetPassword(ctx, &simpv1.SetPasswordRequest{Ima: "alice@example.com", Credential: verifierOf(t, "new", make([]byte, 16))}); err != nil {
		t.Fatal(err)
	}
	if a, _ := s.table.Account(address("alice@example.com")); !a.Credentials().Fits("new") {
		t.Fatal("the new password does not fit")
	}
	if _, err := s.accounts.Disable(ctx, &simpv1.DisableAccountRequest{Ima: "alice@example.com"}); err != nil {
		t.Fatal(err)
	}
	got, err := s.accounts.Get(ctx, &simpv1.GetAccountRequest{Ima: "alice@example.com"})
	if err != nil || !got.Account.Disabled || len(got.Account.Salt) != 16 || got.Account.Iterations != 10_000 {
		t.Fatalf("got %v, %v", got, err)
	}
	if _, err := s.accounts.Enable(ctx, &simpv1.EnableAccountRequest{Ima: "alice@example.com"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.accounts.Delete(ctx, &simpv1.DeleteAccountRequest{Ima: "alice@example.com"}); err != nil {
		t.Fatal(err)
	}
	_, err = s.accounts.Get(ctx, &simpv1.GetAccountRequest{Ima: "alice@example.com"})
	wantCode(t, err, codes.NotFound, "")
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	nobody := "nobody@example.com"
	_, err := s.accounts.Delete(ctx, &simpv1.DeleteAccountRequest{Ima: nobody})
	wantCode(t, err, codes.NotFound, "")
	_, err = s.accounts.Disable(ctx, &simpv1.DisableAccountRequest{Ima: nobody})
	wantCode(t, err, codes.NotFound, "")
	_, err = s.accounts.Enable(ctx, &simpv1.EnableAccountRequest{Ima: nobody})
	wantCode(t, err, codes.NotFound, "")
	_, err = s.accounts.SetPassword(ctx, &simpv1.SetPasswordRequest{Ima: nobody, Credential: password("x")})
	wantCode(t, err, codes.NotFound, "")
}

func TestAccountErrorsNameTheField(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	weak := verifierOf(t, "x", make([]byte, 16))
	weak.GetVerifier().Iterations = 9_999
	salt := verifierOf(t, "x", make([]byte, 15))
	key := verifierOf(t, "x", make([]byte, 16))
	key.GetVerifier().StoredKey = key.GetVerifier().StoredKey[:31]
	server := verifierOf(t, "x", make([]byte, 16))
	server.GetVerifier().ServerKey = nil
	for _, c := range []struct {
		ima        string
		credential *simpv1.Credential
		field      string
	}{
		{"", password("x"), "ima"},
		{"no address", password("x"), "ima"},
		{"a@elsewhere.example", password("x"), "ima"},
		{"a b@example.com", password("x"), "ima"},
		{"a@example.com", nil, "credential"},
		{"a@example.com", password(""), "credential.password"},
		{"a@example.com", password(string(make([]byte, 1025))), "credential.password"},
		{"a@example.com", password("\u00ad\ufeff"), "credential.password"},
		{"a@example.com", password("a\tb"), "credential.password"},
		{"a@example.com", emptyVerifierOf(t), "credential.verifier"},
		{"a@example.com", weak, "credential.verifier.iterations"},
		{"a@example.com", salt, "credential.verifier.salt"},
		{"a@example.com", key, "credential.verifier.stored_key"},
		{"a@example.com", server, "credential.verifier.server_key"},
	} {
		_, err := s.accounts.Create(ctx, &simpv1.CreateAccountRequest{Ima: c.ima, Credential: c.credential})
		wantCode(t, err, codes.InvalidArgument, c.field)
	}
}

func TestAccountsAreListedAtOnePosition(t *testing.T) {
	s, ctx := newSite(t), t.Context()
	for i := range 25 {
		s.account(fmt.Sprintf("u%02d@example.com", i))
	}
	s.account("x@example.org")
	var all []string
	r := &simpv1.ListAccountsRequest{PageSize: 10, Domain: "example.com"}
	var at *simpv1.Position
	for {
		resp, err := s.accounts.List(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range resp.Account {
			all = append(all, a.Ima)
		}
		if at == nil {
			at = resp.Position
		}
		if resp.Position.Index != at.Index {
			t.Fatalf("a page at %d after one at %d", resp.Position.Index, at.Index)
		}
		if resp.NextPageToken == "" {
			break
		}
		r.PageToken = resp.NextPageToken
		s.account(fmt.Sprintf("u%02d-new@example.com", len(all)))
	}
	if len(all) != 25 || !slices.IsSorted(all) {
		t.Fatalf("listed %q", all)
	}
	_, err := s.accounts.List(ctx, &simpv1.ListAccountsRequest{PageToken: r.PageToken})
	wantCode(t, err, codes.InvalidArgument, "page_token")
	_, err = s.accounts.List(ctx, &simpv1.ListAccountsRequest{PageToken: "?"})
	wantCode(t, err, codes.InvalidArgument, "page_token")
	_, err = s.accounts.List(ctx, &simpv1.ListAccountsRequest{PageSize: 1001})
	wantCode(t, err, codes.InvalidArgument, "page_size")
	_, err = s.accounts.List(ctx, &simpv1.ListAccountsRequest{Domain: "elsewhere.example"})
	wantCode(t, err, codes.InvalidArgument, "domain")
}

func TestAPageTokenOfAnotherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other := newSite(t), newSite(t)
		fill := func(s *testSite) {
			for i := range 3 {
				s.account(fmt.Sprintf("u%d@example.com", i))
			}
		}
		fill(s)
		resp, err := s.accounts.List(t.Context(), &simpv1.ListAccountsRequest{PageSize: 2})
		if err != nil {
			t.Fatal(err)
		}
		r := &simpv1.ListAccountsRequest{PageSize: 2, PageToken: resp.NextPageToken}
		_, err = other.accounts.List(t.Context(), r)
		wantCode(t, err, codes.Aborted, "")
		time.AfterFunc(behindALittle, func() { fill(other) })
		if resp, err = other.accounts.List(t.Context(), r); err != nil || len(resp.Account) != 1 {
			t.Errorf("at a node that is a little behind: %v, %v", resp, err)
		}
		other.account("late@example.com")
		_, err = other.accounts.List(t.Context(), r)
		wantCode(t, err, codes.Aborted, "")
	})
}

// behindALittle is how far one node may be behind another for a page token.
const behindALittle = 900 * time.Millisecond

func TestAPageTokenIsGoodForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for i := range 3 {
			s.account(fmt.Sprintf("u%d@example.com", i))
		}
		resp, err := s.accounts.List(t.Context(), &simpv1.ListAccountsRequest{PageSize: 2})
		if err != nil {
			t.Fatal(err)
		}
		s.account("late@example.com")
		r := &simpv1.ListAccountsRequest{PageSize: 2, PageToken: resp.NextPageToken}
		for _, step := range []struct {
			after time.Duration
			want  codes.Code
		}{{59 * time.Second, codes.OK}, {59 * time.Second, codes.OK}, {61 * time.Second, codes.Aborted}} {
			time.Sleep(step.after)
			if _, err = s.accounts.List(t.Context(), r); status.Code(err) != step.want {
				t.Errorf("after %v more: %v, want %v", step.after, err, step.want)
			}
		}
	})
}

func TestAnImportIsSafeToRunAgain(t *testing.T) {
	s := newSite(t)
	salt := make([]byte, 16)
	entries := func(n int, p string) (list []*simpv1.ImportedAccount) {
		for i := range n {
			list = append(list, &simpv1.ImportedAccount{Ima: fmt.Sprintf("u%d@example.com", i), Credential: verifierOf(t, p, salt)})
		}
		return list
	}
	first := importAll(t, s, entries(3, "one"))
	again := importAll(t, s, entries(3, "one"))
	more := importAll(t, s, entries(5, "one"))
	changed := importAll(t, s, entries(5, "two"))
	for i, c := range []struct {
		got                          *simpv1.ImportAccountsResponse
		created, replaced, unchanged uint64
	}{{first, 3, 0, 0}, {again, 0, 0, 3}, {more, 2, 0, 3}, {changed, 0, 5, 0}} {
		if c.got.Created != c.created || c.got.Replaced != c.replaced || c.got.Unchanged != c.unchanged {
			t.Errorf("import %d: %v", i, c.got)
		}
	}
	if a, _ := s.table.Account(address("u4@example.com")); !a.Credentials().Fits("two") {
		t.Error("the new password does not fit")
	}
}

func importAll(t *testing.T, s *testSite, lists ...[]*simpv1.ImportedAccount) *simpv1.ImportAccountsResponse {
	t.Helper()
	stream, err := s.accounts.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		if err := stream.Send(&simpv1.ImportAccountsRequest{Account: list}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestAnImportCountsItsErrorsFromTheFirstAccount(t *testing.T) {
	s := newSite(t)
	stream, err := s.accounts.Import(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good := &simpv1.ImportedAccount{Ima: "a@example.com"}
	for _, list := range [][]*simpv1.ImportedAccount{{good, good}, {good, {Ima: "b@elsewhere.example"}}} {
		if err := stream.Send(&simpv1.ImportAccountsRequest{Account: list, Check: true}); err != nil {
			t.Fatal(err)
		}
	}
	_, err = stream.CloseAndRecv()
	wantCode(t, err, codes.InvalidArgument, "account[3].ima")
	if _, ok := s.table.Account(address("a@example.com")); ok {
		t.Fatal("a check has imported something")
	}
}

func TestAChangeIsAnsweredOnceAllNodesHaveItOrAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.account("a@example.com")
		applied := make(chan struct{})
		s.directory.applied = func(ctx context.Context, _ uint64) error {
			select {
			case <-applied:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		begun := time.Now()
		time.AfterFunc(2*time.Second, func() { close(applied) })
		if _, err := s.accounts.Disable(t.Context(), &simpv1.DisableAccountRequest{Ima: "a@example.com"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 2*time.Second {
			t.Errorf("answered after %s, and all had it after 2s", took)
		}
		applied = make(chan struct{})
		begun = time.Now()
		if _, err := s.accounts.Enable(t.Context(), &simpv1.EnableAccountRequest{Ima: "a@example.com"}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("answered after %s; at most 5s", took)
		}
	})
}
