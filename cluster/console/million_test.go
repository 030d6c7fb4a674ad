package console

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

// BenchmarkPagesOfAMillion measures each page on a site of 1,000,000 accounts, of
// which 100,000 listen.
func BenchmarkPagesOfAMillion(b *testing.B) {
	const accounts, listeners, atOnce = 1_000_000, 100_000, 1000
	s := newTestSite(b, 1)
	n := s.nodes[0]
	verifier := &storev1.Verifier{Salt: make([]byte, 16), Iterations: 10_000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)}
	user := func(i int) string { return fmt.Sprintf("user%07d@example.com", i) }
	for first := 0; first < accounts; first += atOnce {
		var changes []*storev1.Change
		for i := first; i < first+atOnce; i++ {
			changes = append(changes, &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{Address: user(i), Mode: storev1.PutAccount_MODE_CREATE, Verifier: verifier}}})
			if i%(accounts/listeners) == 0 {
				changes = append(changes, &storev1.Change{Kind: &storev1.Change_Bind{Bind: &storev1.Bind{
					Address: user(i), Session: &storev1.Session{Node: "n1", Epoch: s.epoch, Number: uint64(i) + 1}, Epoch: s.epoch,
					State: storev1.State_STATE_AVAILABLE, Credential: 1 << 60,
				}}})
			}
		}
		results, err := s.Propose(b.Context(), changes...)
		if err != nil || results[0].Refusal != store.None || results[1].Refusal != store.None {
			b.Fatal(results[0], results[1], err)
		}
	}
	cookie := n.signIn(allRoles)
	for _, path := range []string{
		"/api/site", "/api/users", "/api/users?prefix=user05", "/api/users?after=" + user(999_000), "/api/users?prefix=zoe", "/api/user?ima=" + user(500_000),
		"/api/messages", "/api/audit", "/api/domains",
	} {
		b.Run(path, func(b *testing.B) {
			longest := time.Duration(0)
			for b.Loop() {
				begun := time.Now()
				if got := n.status(http.MethodGet, path, cookie, ""); got != http.StatusOK {
					b.Fatal(got)
				}
				longest = max(longest, time.Since(begun))
			}
			b.ReportMetric(float64(longest.Microseconds())/1000, "longest-ms")
			if longest > 300*time.Millisecond {
				b.Errorf("a page took %v, more than 300 ms", longest)
			}
		})
	}
}
