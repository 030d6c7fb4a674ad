package link

import (
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// TestS31RemovalRevokes: a node that was taken out of the site has its
// certificate still, and may do nothing with it but find out what the others
// are.
func TestS31RemovalRevokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		n1, n2 := s.open(s.config(1)), s.open(s.config(2))
		s.connected(2)
		deliver := func() protocol.Status {
			outcome := make(chan protocol.Outcome, 1)
			n2.Deliver("n1", store.Session{Node: "n1", Epoch: 1, Number: 1}, message("m1"), func(o protocol.Outcome) { outcome <- o })
			return (<-outcome).Status
		}
		n1.Know(map[string]string{"n1": n1.addr, "n2": n2.addr})
		if got := deliver(); got == protocol.StatusUnavailable {
			t.Errorf("a message of a node of the site: %d", got)
		}
		n1.Know(map[string]string{"n1": n1.addr})
		if got := deliver(); got != protocol.StatusUnavailable {
			t.Errorf("a message of a node that was removed: %d", got)
		}
		conn, err := n2.mux.dial(t.Context(), "n1", n1.addr, callProtocol)
		if err != nil {
			t.Fatal(err)
		}
		client, err := n2.client(once(conn))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		for method, forAll := range forNodes() {
			if method == clusterv1.Peer_Messages_FullMethodName || method == clusterv1.Peer_Copy_FullMethodName {
				continue // streams
			}
			err := client.Invoke(t.Context(), method, &clusterv1.StatusRequest{}, &clusterv1.StatusResponse{}, grpc.WaitForReady(true))
			if refused := status.Code(err) == codes.PermissionDenied; refused == forAll {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}
