package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

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
	lookalikes *lookalikes
}

func newAccountService(c Config, p *pages) *accountService {
	return &accountService{Config: c, pages: p, hasher: newHasher(), lookalikes: newLookalikes(c.Table)}
}

// Create makes an account.
func (s *accountService) Create(ctx context.Context, r *simpv1.CreateAccountRequest) (*simpv1.CreateAccountResponse, error) {
	at, a, err := s.put(ctx, r.Ima, r.Credential, storev1.PutAccount_MODE_CREATE, r.AllowLookalike)
	if err != nil {
		return nil, err
	}
	return &simpv1.CreateAccountResponse{Account: a, Position: at}, nil
}

// SetPassword gives an account a new password.
func (s *accountService) SetPassword(ctx context.Context, r *simpv1.SetPasswordRequest) (*simpv1.SetPasswordResponse, error) {
	at, _, err := s.put(ctx, r.Ima, r.Credential, storev1.PutAccount_MODE_REPLACE, true)
	if err != nil {
		return nil, err
	}
	return &simpv1.SetPasswordResponse{Position: at}, nil
}

// put sets an account's credential, and returns the account as it is then.
func (s *accountService) put(ctx context.Context, ima string, c *simpv1.Credential, mode storev1.PutAccount_Mode, allowLookalike bool) (*simpv1.Position, *simpv1.Account, error) {
	f := &fields{domains: s.Domains}
	user := f.user("ima", ima)
	f.credential("credential", c)
	whom(ctx, named(user, ima))
	if err := f.err(); err != nil {
		return nil, nil, err
	}
	if err := s.inTouch(false); err != nil {
		return nil, nil, err
	}
	if err := s.possible(user, mode); err != nil {
		return nil, nil, err
	}
	if !allowLookalike {
		s.refuseLookalike(f, user)
	}
	if err := f.err(); err != nil {
		return nil, nil, err
	}
	v, err := s.hasher.verifier(ctx, "credential", c)
	if err != nil {
		return nil, nil, err
	}
	at, err := s.settle(ctx, putAccount(user, v, mode))
	if err != nil {
		return nil, nil, err
	}
	a, ok := s.Table.Account(user)
	if !ok {
		return nil, nil, missing(user)
	}
	return at, account(a), nil
}

// refuseLookalike adds a violation if user can be mistaken for an existing
// account.
func (s *accountService) refuseLookalike(f *fields, user protocol.Address) {
	if like := s.lookalikes.find(user); !like.IsZero() {
		f.add("ima", "%s looks like the existing account %s; allow_lookalike creates it all the same", user, like)
	}
}

// there reports whether the user has an account.
func (s *accountService) there(user protocol.Address) bool {
	_, there := s.Table.Account(user)
	return there
}

// possible refuses early what the table would refuse after the hashing.
func (s *accountService) possible(user protocol.Address, mode storev1.PutAccount_Mode) error {
	there := s.there(user)
	switch {
	case there && mode == storev1.PutAccount_MODE_CREATE:
		return detailed(codes.AlreadyExists, user.String()+" has an account already", reasonExists.info())
	case !there && mode == storev1.PutAccount_MODE_REPLACE:
		return missing(user)
	}
	return nil
}

func putAccount(user protocol.Address, v *storev1.Verifier, mode storev1.PutAccount_Mode) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: user.String(), Verifier: v, Mode: mode,
	}}}
}

// Delete removes an account.
func (s *accountService) Delete(ctx context.Context, r *simpv1.DeleteAccountRequest) (*simpv1.DeleteAccountResponse, error) {
	user, err := s.user(ctx, r.Ima)
	if err != nil {
		return nil, err
	}
	at, err := s.settle(ctx, &storev1.Change{Kind: &storev1.Change_DeleteAccount{
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
	user, err := s.user(ctx, ima)
	if err != nil {
		return nil, err
	}
	return s.settle(ctx, &storev1.Change{Kind: &storev1.Change_SetDisabled{
		SetDisabled: &storev1.SetDisabled{Address: user.String(), Disabled: disabled},
	}})
}

// user reads whom a change is on.
func (s *accountService) user(ctx context.Context, ima string) (protocol.Address, error) {
	f := &fields{domains: s.Domains}
	user := f.user("ima", ima)
	whom(ctx, named(user, ima))
	if err := f.err(); err != nil {
		return user, err
	}
	return user, s.inTouch(false)
}

// named is how a record names a user: as given, where that is no address.
func named(user protocol.Address, given string) string {
	if user.IsZero() {
		return given
	}
	return user.String()
}

// Get tells of one account.
func (s *accountService) Get(ctx context.Context, r *simpv1.GetAccountRequest) (*simpv1.GetAccountResponse, error) {
	f := &fields{domains: s.Domains}
	user := f.user("ima", r.Ima)
	if err := f.err(); err != nil {
		return nil, err
	}
	v, err := s.view(ctx, false)
	if err != nil {
		return nil, err
	}
	a, ok := v.Account(user)
	if !ok {
		return nil, missing(user)
	}
	return &simpv1.GetAccountResponse{Account: account(a), Position: position(v)}, nil
}

// List tells all accounts, page by page.
func (s *accountService) List(ctx context.Context, r *simpv1.ListAccountsRequest) (*simpv1.ListAccountsResponse, error) {
	f := &fields{domains: s.Domains}
	size := f.pageSize(r.PageSize)
	domain := f.domain("domain", r.Domain)
	if err := f.err(); err != nil {
		return nil, err
	}
	v, err := s.view(ctx, false)
	if err != nil {
		return nil, err
	}
	last := protocol.Address{}
	if r.PageToken != "" {
		if v, last, err = s.pages.resume(ctx, f, r.PageToken, r); err != nil {
			return nil, err
		}
	}
	resp := &simpv1.ListAccountsResponse{Position: position(v)}
	v.Accounts(last, func(a *store.Account) bool {
		if a.Address == last || !inDomain(a.Address, domain) {
			return true
		}
		if len(resp.Account) == size {
			resp.NextPageToken = s.pages.next(v, resp.Account[size-1].Ima, r)
			return false
		}
		found := account(a)
		err = grow(ctx, found)
		resp.Account = append(resp.Account, found)
		return err == nil
	})
	return resp, err
}

func account(a *store.Account) *simpv1.Account {
	return &simpv1.Account{
		Ima: a.Address.String(), Disabled: a.Disabled, Created: timestamppb.New(a.Created),
		Credential: a.Credential, Salt: a.Verifier.Salt, Iterations: a.Verifier.Iterations,
	}
}

func missing(user protocol.Address) error {
	return detailed(codes.NotFound, "there is no account "+user.String(), reasonNoAccount.info())
}
