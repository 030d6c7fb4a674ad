package api

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"simpd/cluster/lookalike"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// accountService keeps the site's users.
type accountService struct {
	simpv1.UnimplementedAccountServiceServer
	Config
	pages      *pages
	hasher     hasher
	lookalikes *lookalike.Index
}

func newAccountService(c Config, p *pages) *accountService {
	s := &accountService{Config: c, pages: p, hasher: newHasher(), lookalikes: c.Lookalikes}
	if s.lookalikes == nil {
		s.lookalikes = lookalike.New(c.Table)
	}
	return s
}

// Create makes an account.
func (s *accountService) Create(ctx context.Context, r *simpv1.CreateAccountRequest) (*simpv1.CreateAccountResponse, error) {
	at, a, err := s.putCredential(ctx, r.Ima, r.Credential, storev1.PutAccount_MODE_CREATE, r.AllowLookalike)
	if err != nil {
		return nil, err
	}
	return &simpv1.CreateAccountResponse{Account: a, Position: at}, nil
}

// SetPassword gives an account a new password.
func (s *accountService) SetPassword(ctx context.Context, r *simpv1.SetPasswordRequest) (*simpv1.SetPasswordResponse, error) {
	at, _, err := s.putCredential(ctx, r.Ima, r.Credential, storev1.PutAccount_MODE_REPLACE, true)
	if err != nil {
		return nil, err
	}
	return &simpv1.SetPasswordResponse{Position: at}, nil
}

// putCredential sets an account's credential, in one proposal with other changes, and
// returns the account as it is then.
func (s *accountService) putCredential(ctx context.Context, ima string, c *simpv1.Credential, mode storev1.PutAccount_Mode, allowLookalike bool, with ...*storev1.Change) (*simpv1.Position, *simpv1.Account, error) {
	f := &fields{domains: s.Domains}
	user := f.localUser("ima", ima)
	f.checkCredential("credential", c)
	setAuditTarget(ctx, displayName(user, ima))
	if err := f.err(); err != nil {
		return nil, nil, err
	}
	if err := s.inTouch(false); err != nil {
		return nil, nil, err
	}
	if err := s.checkExists(user, mode); err != nil {
		return nil, nil, err
	}
	if !allowLookalike {
		s.refuseLookalike(f, user)
	}
	if err := f.err(); err != nil {
		return nil, nil, err
	}
	v, err := s.hasher.makeVerifier(ctx, "credential", c)
	if err != nil {
		return nil, nil, err
	}
	at, err := s.proposeEverywhere(ctx, append([]*storev1.Change{s.putAccount(user, v, mode)}, with...)...)
	if err != nil {
		return nil, nil, err
	}
	a, ok := s.Table.Account(user)
	if !ok {
		return nil, nil, noSuchAccount(user)
	}
	return at, accountMessage(a), nil
}

// refuseLookalike adds a violation if user can be mistaken for an existing
// account.
func (s *accountService) refuseLookalike(f *fields, user protocol.Address) {
	if like := s.lookalikes.Find(user); !like.IsZero() {
		f.addViolation("ima", "%s looks like the existing account %s; it is created only with allow_lookalike (simpctl: --allow-lookalike)", user, like)
	}
}

// hasAccount reports whether the user has an account.
func (s *accountService) hasAccount(user protocol.Address) bool {
	_, there := s.Table.Account(user)
	return there
}

// checkExists refuses early what the table would refuse after the hashing.
func (s *accountService) checkExists(user protocol.Address, mode storev1.PutAccount_Mode) error {
	there := s.hasAccount(user)
	switch {
	case there && mode == storev1.PutAccount_MODE_CREATE:
		return alreadyExists(user)
	case !there && mode == storev1.PutAccount_MODE_REPLACE:
		return noSuchAccount(user)
	}
	return nil
}

// putAccount returns the change that sets an account's credential. It removes
// the account's app passwords unless the account has that credential.
func (s *accountService) putAccount(user protocol.Address, v *storev1.Verifier, mode storev1.PutAccount_Mode) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: user.String(), Verifier: v, Mode: mode, DropAppPasswords: s.Table.HasAppPasswords(),
	}}}
}

// Delete removes an account.
func (s *accountService) Delete(ctx context.Context, r *simpv1.DeleteAccountRequest) (*simpv1.DeleteAccountResponse, error) {
	user, err := s.parseUser(ctx, r.Ima)
	if err != nil {
		return nil, err
	}
	at, err := s.proposeEverywhere(ctx, &storev1.Change{Kind: &storev1.Change_DeleteAccount{
		DeleteAccount: &storev1.DeleteAccount{Address: user.String()},
	}})
	if err != nil {
		return nil, err
	}
	return &simpv1.DeleteAccountResponse{Position: at}, nil
}

// Disable keeps a user out.
func (s *accountService) Disable(ctx context.Context, r *simpv1.DisableAccountRequest) (*simpv1.DisableAccountResponse, error) {
	at, err := s.setDisabled(ctx, r.Ima, true)
	if err != nil {
		return nil, err
	}
	return &simpv1.DisableAccountResponse{Position: at}, nil
}

// Enable lets a user in again.
func (s *accountService) Enable(ctx context.Context, r *simpv1.EnableAccountRequest) (*simpv1.EnableAccountResponse, error) {
	at, err := s.setDisabled(ctx, r.Ima, false)
	if err != nil {
		return nil, err
	}
	return &simpv1.EnableAccountResponse{Position: at}, nil
}

func (s *accountService) setDisabled(ctx context.Context, ima string, disabled bool) (*simpv1.Position, error) {
	user, err := s.parseUser(ctx, ima)
	if err != nil {
		return nil, err
	}
	return s.proposeEverywhere(ctx, setDisabled(user, disabled))
}

func setDisabled(user protocol.Address, disabled bool) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_SetDisabled{
		SetDisabled: &storev1.SetDisabled{Address: user.String(), Disabled: disabled},
	}}
}

// parseUser reads whom a change is on.
func (s *accountService) parseUser(ctx context.Context, ima string) (protocol.Address, error) {
	f := &fields{domains: s.Domains}
	user := f.localUser("ima", ima)
	setAuditTarget(ctx, displayName(user, ima))
	if err := f.err(); err != nil {
		return user, err
	}
	return user, s.inTouch(false)
}

// displayName returns the name of a user in a record: as given, where that is no address.
func displayName(user protocol.Address, given string) string {
	if user.IsZero() {
		return given
	}
	return user.String()
}

// Get tells of one account.
func (s *accountService) Get(ctx context.Context, r *simpv1.GetAccountRequest) (*simpv1.GetAccountResponse, error) {
	v, a, err := s.findAccount(ctx, r.Ima)
	if err != nil {
		return nil, err
	}
	return &simpv1.GetAccountResponse{Account: accountMessage(a), Position: positionOf(v)}, nil
}

// findAccount returns the account of a request, and the table that it is in.
func (s *accountService) findAccount(ctx context.Context, ima string) (v store.View, a *store.Account, err error) {
	f := &fields{domains: s.Domains}
	user := f.localUser("ima", ima)
	if err := f.err(); err != nil {
		return v, nil, err
	}
	v, err = s.tableView(ctx, false)
	if err != nil {
		return v, nil, err
	}
	a, ok := v.Account(user)
	if !ok {
		return v, nil, noSuchAccount(user)
	}
	return v, a, nil
}

// List tells all accounts, page by page.
func (s *accountService) List(ctx context.Context, r *simpv1.ListAccountsRequest) (*simpv1.ListAccountsResponse, error) {
	f := &fields{domains: s.Domains}
	size := f.pageSize(r.PageSize)
	domain := f.localDomain("domain", r.Domain)
	v, last, err := s.listPage(ctx, f, r)
	if err != nil {
		return nil, err
	}
	resp, prefix := &simpv1.ListAccountsResponse{Position: positionOf(v)}, strings.ToLower(r.Prefix)
	v.AccountsFrom(max(last, prefix), func(a *store.Account) bool {
		address := a.Address.String()
		if !strings.HasPrefix(address, prefix) {
			return false
		}
		if address == last || !inDomain(a.Address, domain) {
			return true
		}
		if len(resp.Account) == size {
			if !r.NoToken {
				resp.NextPageToken = s.pages.nextToken(v, resp.Account[size-1].Ima, r)
			}
			return false
		}
		found := accountMessage(a)
		err = reserveAnswer(ctx, found)
		resp.Account = append(resp.Account, found)
		return err == nil
	})
	return resp, err
}

// listPage returns the table that a page is of, and the address after which it
// starts.
func (s *accountService) listPage(ctx context.Context, f *fields, r *simpv1.ListAccountsRequest) (v store.View, last string, err error) {
	if err := f.err(); err != nil {
		return v, "", err
	}
	v, err = s.tableView(ctx, false)
	if err != nil || r.PageToken == "" {
		return v, r.After, err
	}
	v, address, err := s.pages.resumeToken(ctx, f, r.PageToken, r)
	return v, address.String(), err
}

func accountMessage(a *store.Account) *simpv1.Account {
	return &simpv1.Account{
		Ima: a.Address.String(), Disabled: a.Disabled, Created: timestamppb.New(a.Created),
		Credential: a.Credential, Salt: a.Verifier.Salt, Iterations: a.Verifier.Iterations,
		Source: a.Source(), LeftSource: a.HasLeftSource(),
	}
}

func alreadyExists(user protocol.Address) error {
	return statusWithDetails(codes.AlreadyExists, user.String()+" has an account already", reasonExists.errorInfo())
}

func noSuchAccount(user protocol.Address) error {
	return statusWithDetails(codes.NotFound, "there is no account "+user.String(), reasonNoAccount.errorInfo())
}
