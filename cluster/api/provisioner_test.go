package api_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cluster/api"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// provisionerOn returns a Provisioner at the newest schema, and its token. The
// directory calls before ahead of each proposal.
func provisionerOn(t *testing.T, before func(s *testSite, proposal int)) (*testSite, *api.Provisioner, string) {
	t.Helper()
	token := strings.Repeat("t", 40)
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(tokenLine("entra", token, "role=account:admin")), 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := api.LoadTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	counted := &countedDirectory{}
	s := newSite(t, func(c *api.Config) {
		c.Tokens, counted.Directory, c.Directory = tokens, c.Directory, counted
	})
	s.propose(&storev1.Change{Kind: &storev1.Change_SetSchema{SetSchema: &storev1.SetSchema{Schema: store.NewestSchema}}})
	counted.before = func(n int) { before(s, n) }
	return s, s.server.Provisioner(), token
}

type countedDirectory struct {
	api.Directory
	proposals int
	before    func(proposal int)
}

func (d *countedDirectory) Propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	d.proposals++
	d.before(d.proposals)
	return d.Directory.Propose(ctx, changes...)
}

// A user who is made without being active is never let in: not even if a second
// proposal would fail.
func TestProvisioningOfInactiveUsers(t *testing.T) {
	for name, password := range map[string]string{"alice@example.com": "", "bob@example.com": "correct horse battery"} {
		s, p, token := provisionerOn(t, func(s *testSite, n int) {
			if n > 1 {
				s.directory.mu.Lock()
				defer s.directory.mu.Unlock()
				s.directory.err = context.DeadlineExceeded
			}
		})
		a, err := p.Create(t.Context(), token, name, password, false)
		if err != nil || !a.Disabled {
			t.Errorf("%s: %v, %+v", name, err, a)
		}
		if a, ok := s.table.Account(address(name)); !ok || !a.Disabled {
			t.Errorf("%s is let in: %v", name, ok)
		}
	}
}

// Of two requests that make the same user at once, one has made the user.
func TestProvisioningTwiceAtOnce(t *testing.T) {
	for name, password := range map[string]string{"alice@example.com": "", "bob@example.com": "correct horse battery"} {
		_, p, token := provisionerOn(t, func(s *testSite, n int) {
			if n == 1 {
				s.ownedAccount(name, store.CertificateSource)
			}
		})
		if _, err := p.Create(t.Context(), token, name, password, true); status.Code(err) != codes.AlreadyExists {
			t.Errorf("%s: %v", name, err)
		}
	}
}
