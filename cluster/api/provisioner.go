package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc/codes"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// Provisioner lets an identity provider keep accounts by requests that do not come
// over gRPC. Who may do what, and what is written down, is as for AccountService.
// Errors are statuses, as programs are told them. Any goroutine may call its
// methods.
type Provisioner struct {
	gate     *gate
	accounts *accountService
}

// Provisioner returns the Provisioner of the server's site.
func (s *Server) Provisioner() *Provisioner { return &Provisioner{s.gate, s.accounts} }

// call calls do as a call of a method of AccountService by whoever has the token.
func (p *Provisioner) call(ctx context.Context, token, name string, do func(context.Context) error) (err error) {
	path := "/simp.v1.AccountService/" + name
	m := p.gate.methods[path]
	who, err := p.identify(token)
	record := &record{}
	if err == nil && !who.hasRole(m.wants) {
		err = statusWithDetails(codes.PermissionDenied, fmt.Sprintf("%s lacks the role %s", who.name, m.wants), reasonNoRole.errorInfo())
	}
	if err != nil {
		p.gate.refused.Add(1)
		if p.gate.refusals.countRefusal(cause{"provisioner", who.name}) {
			record.write(p.gate, who, path, err)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, recordKey{}, record), m.limit)
	defer cancel()
	if err = p.gate.checkTable(m); err == nil {
		err = p.gate.errors.publicStatus(m, p.recover(ctx, path, do))
	}
	if m.audit {
		record.write(p.gate, who, path, err)
	}
	return err
}

// identify returns whose token it is.
func (p *Provisioner) identify(token string) (*caller, error) {
	if token == "" {
		return &caller{name: nobody}, statusWithDetails(codes.Unauthenticated, "a bearer token is required", reasonCredentialsMissing.errorInfo())
	}
	who, err := p.gate.tokens.lookupToken(token)
	if err != nil {
		return &caller{name: nobody}, unauthenticated(err)
	}
	return who, nil
}

// recover calls do; a fault in it ends this call only.
func (p *Provisioner) recover(ctx context.Context, path string, do func(context.Context) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			p.gate.logger.Error("a call failed by a fault in this program", "method", path, "fault", fault, "stack", string(debug.Stack()))
			err = statusWithDetails(codes.Internal, "internal server error; see this node's log", reasonFault.errorInfo())
		}
	}()
	return do(ctx)
}

// Authorize returns nil if whoever has the token may list accounts.
func (p *Provisioner) Authorize(ctx context.Context, token string) error {
	return p.call(ctx, token, "List", func(context.Context) error { return nil })
}

// Create makes an account, with a password if one is given. One without belongs to
// no source yet: the first source of its domain that accepts the user takes it over.
func (p *Provisioner) Create(ctx context.Context, token, ima, password string, active bool) (created *store.Account, err error) {
	err = p.call(ctx, token, "Create", func(ctx context.Context) error {
		s := p.accounts
		var with []*storev1.Change
		if user := (&fields{domains: s.Domains}).localUser("ima", ima); !active {
			with = append(with, setDisabled(user, true))
		}
		if password != "" {
			credential := &simpv1.Credential{Kind: &simpv1.Credential_Password{Password: password}}
			if _, _, err := s.putCredential(ctx, ima, credential, storev1.PutAccount_MODE_CREATE, false, with...); err != nil {
				return err
			}
		} else if err := s.registerWithoutPassword(ctx, ima, with...); err != nil {
			return err
		}
		_, created, err = s.findAccount(ctx, ima)
		return err
	})
	return created, err
}

// registerWithoutPassword makes an account for which nobody knows a password, in one
// proposal with other changes.
func (s *accountService) registerWithoutPassword(ctx context.Context, ima string, with ...*storev1.Change) error {
	user, err := s.parseUser(ctx, ima)
	if err != nil {
		return err
	}
	if err := s.checkExists(user, storev1.PutAccount_MODE_CREATE); err != nil {
		return err
	}
	f := &fields{domains: s.Domains}
	s.refuseLookalike(f, user)
	if err := f.err(); err != nil {
		return err
	}
	if !s.Table.HasSources() { // an older node could not read the change
		return unavailable(reasonNotReady, "the site is being upgraded; accounts without a password can be made once all nodes are upgraded")
	}
	random := make([]byte, minSalt+2*sha256.Size)
	rand.Read(random) // never fails
	keys := random[minSalt:]
	register := &storev1.Change{Kind: &storev1.Change_RegisterAccount{RegisterAccount: &storev1.RegisterAccount{
		Address: user.String(), Source: store.CertificateSource,
		Verifier: &storev1.Verifier{Salt: random[:minSalt], Iterations: protocol.ScramIterations, StoredKey: keys[:sha256.Size], ServerKey: keys[sha256.Size:]},
	}}}
	if _, err = s.proposeEverywhere(ctx, append([]*storev1.Change{register}, with...)...); err != nil {
		return err
	}
	if a, ok := s.Table.Account(user); ok && !bytes.Equal(a.Verifier.Salt, random[:minSalt]) { // another request was first
		return alreadyExists(user)
	}
	return nil
}

// SetActive lets a user in, or keeps the user out, as Enable and Disable do.
func (p *Provisioner) SetActive(ctx context.Context, token, ima string, active bool) (err error) {
	name := "Disable"
	if active {
		name = "Enable"
	}
	return p.call(ctx, token, name, func(ctx context.Context) error {
		_, err := p.accounts.setDisabled(ctx, ima, !active)
		return err
	})
}

// SetPassword gives an account of the table a password.
func (p *Provisioner) SetPassword(ctx context.Context, token, ima, password string) error {
	return p.call(ctx, token, "SetPassword", func(ctx context.Context) error {
		credential := &simpv1.Credential{Kind: &simpv1.Credential_Password{Password: password}}
		_, _, err := p.accounts.putCredential(ctx, ima, credential, storev1.PutAccount_MODE_REPLACE, true)
		return err
	})
}

// Delete removes an account.
func (p *Provisioner) Delete(ctx context.Context, token, ima string) error {
	return p.call(ctx, token, "Delete", func(ctx context.Context) error {
		_, err := p.accounts.Delete(ctx, &simpv1.DeleteAccountRequest{Ima: ima})
		return err
	})
}

// Get returns an account.
func (p *Provisioner) Get(ctx context.Context, token, ima string) (found *store.Account, err error) {
	err = p.call(ctx, token, "Get", func(ctx context.Context) error {
		_, found, err = p.accounts.findAccount(ctx, ima)
		return err
	})
	return found, err
}

// List calls yield for each account in the order of the addresses, until yield
// returns false.
func (p *Provisioner) List(ctx context.Context, token string, yield func(*store.Account) bool) error {
	return p.call(ctx, token, "List", func(ctx context.Context) error {
		v, err := p.accounts.tableView(ctx, false)
		if err != nil {
			return err
		}
		v.Accounts(protocol.Address{}, func(a *store.Account) bool { return ctx.Err() == nil && yield(a) })
		return ctx.Err()
	})
}
