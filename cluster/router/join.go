package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// errWrongCode refuses every code that creates no account, with one text: it
// does not tell a guess from a code that was once valid.
var errWrongCode = protocol.Errorf(protocol.StatusUnauthorized, "the code of the invitation is wrong, was used already or has ended")

// CheckInvitation returns nil if the code may create the account of user.
// Whether the account can be created, only the holder of a valid code is told.
func (r *Router) CheckInvitation(ctx context.Context, code string, user protocol.Address) error {
	if !r.config.Table.HasInvitations() { // an older node could not read the change
		return protocol.Errorf(protocol.StatusUnavailable, "the site is being upgraded; invitations work once all nodes are upgraded")
	}
	i, err := r.findInvitation(ctx, code)
	if err != nil {
		return err
	}
	if user.Domain() != i.Domain {
		return protocol.Errorf(protocol.StatusForbidden, "the invitation is for addresses of %s", i.Domain)
	}
	if r.config.Sources != nil && !r.config.Sources.HasTable(i.Domain) {
		return protocol.Errorf(protocol.StatusForbidden, "accounts of %s are not created by invitation", i.Domain)
	}
	if _, exists := r.config.Table.Account(user); exists {
		return addressTakenError(user)
	}
	if err := r.checkDirectories(ctx, user); err != nil {
		return err
	}
	if like := r.lookalikes.Find(user); !like.IsZero() {
		return protocol.Errorf(protocol.StatusWrongState, "%s can be mistaken for the address of another user; choose another", user)
	}
	return nil
}

// checkDirectories returns an error if the address belongs to somebody whom a
// directory of the domain knows, or if that can't be found out: who was invited
// must not take the place of a user who has not logged in yet.
func (r *Router) checkDirectories(ctx context.Context, user protocol.Address) error {
	if r.config.Sources == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, invitationTimeout)
	defer cancel()
	switch known, err := r.config.Sources.HasUser(ctx, user); {
	case err != nil:
		return protocol.Errorf(protocol.StatusUnavailable, "the site's directory can't be asked now; try again")
	case known:
		return addressTakenError(user)
	}
	return nil
}

// findInvitation returns the invitation of a code. A node that does not know
// it asks the leader whether its own table is up to date before it says so.
func (r *Router) findInvitation(ctx context.Context, code string) (*store.Invitation, error) {
	hash := protocol.HashInvitationCode(code)
	if i := r.config.Table.Invitation(hash); i != nil {
		if i.HasEnded(time.Now()) {
			return nil, errWrongCode
		}
		return i, nil
	}
	ctx, cancel := context.WithTimeout(ctx, invitationTimeout)
	defer cancel()
	if err := r.directory.ReadBarrier(ctx); err != nil {
		return nil, protocol.Errorf(protocol.StatusUnavailable, "the invitation can't be looked up now; try again")
	}
	i := r.config.Table.Invitation(hash)
	if i == nil || i.HasEnded(time.Now()) {
		return nil, errWrongCode
	}
	return i, nil
}

// invitationTimeout limits the wait for the leader when an invitation is looked up.
const invitationTimeout = 3 * time.Second

// Join creates the account of user, and returns when every node that is up has
// applied it.
func (r *Router) Join(ctx context.Context, code string, user protocol.Address, c protocol.Credentials) error {
	results, err := r.directory.Propose(ctx, &storev1.Change{Kind: &storev1.Change_UseInvitation{UseInvitation: &storev1.UseInvitation{
		CodeHash: protocol.HashInvitationCode(code), Address: user.String(),
		Verifier: &storev1.Verifier{Salt: c.Salt, Iterations: uint32(c.Iterations), StoredKey: c.StoredKey, ServerKey: c.ServerKey},
	}}})
	if err != nil {
		err = unavailableError(err)
	} else {
		err = joinError(results[0], user)
	}
	r.auditJoin(user, results, err)
	if err != nil {
		return err
	}
	r.awaitEverywhere(ctx, results[0].Index) // so that the user can log in at once at every node
	return nil
}

// joinError converts the table's refusal of a new account into a response.
func joinError(res store.Result, user protocol.Address) error {
	switch res.Refusal {
	case store.None:
		return nil
	case store.NoInvitation:
		return errWrongCode
	case store.Exists:
		return addressTakenError(user)
	case store.OtherDomain:
		return protocol.Errorf(protocol.StatusForbidden, "%s", refusalText(res))
	}
	return refusalError(res)
}

func addressTakenError(user protocol.Address) error {
	return protocol.Errorf(protocol.StatusWrongState, "%s has an account already; choose another address", user)
}

// auditJoin records who has created an account by which invitation, in the form
// of the records of gRPC calls. The code is not part of it.
func (r *Router) auditJoin(user protocol.Address, results []store.Result, err error) {
	whom := user.String()
	if len(results) > 0 && results[0].Invitation > 0 {
		whom = fmt.Sprintf("%s, invitation %d", user, results[0].Invitation)
	}
	attrs := []any{slog.String("who", user.String()), slog.String("what", "JOIN"), slog.String("whom", whom), slog.String("outcome", "OK")}
	var refused *protocol.Error
	if errors.As(err, &refused) {
		attrs[3] = slog.String("outcome", fmt.Sprint(int(refused.Status)))
		attrs = append(attrs, slog.String("why", refused.Text))
	}
	r.config.Logger.Info("audit", slog.Group("audit", attrs...))
}
