package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"simpd/cluster/lookalike"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// Sizes of an import.
const (
	maxImport     = 1000 // accounts in one request of the stream
	importChanges = 256  // accounts proposed at once
	maxLookalikes = 1000 // accounts that were left out and are named
)

// Import makes accounts as they come, and answers when all are there.
func (s *accountService) Import(stream grpc.ClientStreamingServer[simpv1.ImportAccountsRequest, simpv1.ImportAccountsResponse]) error {
	run := &importRun{accountService: s}
	ctx := stream.Context()
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		err = run.addBatch(ctx, r)
		setAuditTarget(ctx, run.made.String())
		if err != nil {
			return err
		}
	}
	s.awaitEverywhere(ctx, run.index)
	return stream.SendAndClose(&simpv1.ImportAccountsResponse{
		Created: run.made.created, Replaced: run.made.replaced, Unchanged: run.made.unchanged,
		Lookalike: run.lookalike, Lookalikes: run.lookalikeCount,
		Position: &simpv1.Position{History: s.Table.History(), Index: run.index},
	})
}

// importRun is one Import under way.
type importRun struct {
	*accountService
	made    tally // of what the site has
	pending tally // of what is not proposed yet
	index   uint64
	seen    int // accounts of the requests before

	lookalike      []*simpv1.Lookalike // at most maxLookalikes
	lookalikeCount uint64
}

// tally counts accounts.
type tally struct{ created, replaced, unchanged uint64 }

func (t tally) String() string {
	return fmt.Sprintf("%d created, %d replaced, %d unchanged", t.created, t.replaced, t.unchanged)
}

// addBatch checks a request as a whole, hashes what is to be hashed, and proposes it.
func (r *importRun) addBatch(ctx context.Context, req *simpv1.ImportAccountsRequest) error {
	users, err := r.checkBatch(req)
	if err != nil || req.Check {
		return err
	}
	verifiers, err := r.hashAll(ctx, req.Account)
	if err != nil {
		return err
	}
	var changes []*storev1.Change
	pending := map[string]protocol.Address{} // whom changes create, by skeleton
	for i, user := range users {
		if !req.AllowLookalike && r.leavesOut(r.seen-len(users)+i, user, pending) || !r.countChange(user, verifiers[i]) {
			continue
		}
		changes = append(changes, r.putAccount(user, verifiers[i], storev1.PutAccount_MODE_UPSERT))
		if len(changes) == importChanges {
			if err := r.commitBatch(ctx, changes); err != nil {
				return err
			}
			changes = nil
			clear(pending)
		}
	}
	return r.commitBatch(ctx, changes)
}

// leavesOut reports whether account number n is new and can be mistaken for
// one that exists or is pending; if so, it is noted for the response.
func (r *importRun) leavesOut(n int, user protocol.Address, pending map[string]protocol.Address) bool {
	if r.hasAccount(user) {
		return false
	}
	skeleton := lookalike.Skeleton(user)
	like, ok := pending[skeleton]
	if !ok {
		like = r.lookalikes.Find(user)
	}
	if like.IsZero() || like == user {
		pending[skeleton] = user
		return false
	}
	if r.lookalikeCount++; len(r.lookalike) < maxLookalikes {
		r.lookalike = append(r.lookalike, &simpv1.Lookalike{Account: uint64(n), Ima: user.String(), Like: like.String()})
	}
	return true
}

func (r *importRun) checkBatch(req *simpv1.ImportAccountsRequest) ([]protocol.Address, error) {
	f := &fields{domains: r.Domains}
	list := req.Account
	if len(list) > maxImport {
		f.addViolation("account", "%d are too many in one request: at most %d", len(list), maxImport)
		return nil, f.err()
	}
	users := make([]protocol.Address, len(list))
	for i, a := range list {
		field := fmt.Sprintf("account[%d]", r.seen+i)
		users[i] = f.localUser(field+".ima", a.Ima)
		if !req.Check {
			f.checkCredential(field+".credential", a.Credential)
		}
	}
	r.seen += len(list)
	return users, f.err()
}

func (r *importRun) hashAll(ctx context.Context, list []*simpv1.ImportedAccount) ([]*storev1.Verifier, error) {
	verifiers := make([]*storev1.Verifier, len(list))
	first := r.seen - len(list)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cap(r.hasher.slots))
	for i, a := range list {
		group.Go(func() (err error) {
			verifiers[i], err = r.hasher.makeVerifier(ctx, fmt.Sprintf("account[%d].credential", first+i), a.Credential)
			return err
		})
	}
	return verifiers, group.Wait()
}

// countChange reports whether there is something to do for the user, and counts it. A
// verifier that the account has already closes nobody's connections.
func (r *importRun) countChange(user protocol.Address, v *storev1.Verifier) bool {
	a, there := r.Table.Account(user)
	switch {
	case !there:
		r.pending.created++
	case bytes.Equal(a.Verifier.Salt, v.Salt) && bytes.Equal(a.Verifier.StoredKey, v.StoredKey) && a.Verifier.Iterations == v.Iterations:
		r.made.unchanged++
		return false
	default:
		r.pending.replaced++
	}
	return true
}

func (r *importRun) commitBatch(ctx context.Context, changes []*storev1.Change) error {
	if len(changes) == 0 {
		return nil
	}
	results, err := r.proposeChanges(ctx, changes...)
	if err != nil {
		return err
	}
	r.index = results[len(results)-1].Index
	r.made.created += r.pending.created
	r.made.replaced += r.pending.replaced
	r.pending = tally{}
	setDone(ctx, "a part is imported, %s; repeat the import, which leaves that as it is", r.made)
	return nil
}
