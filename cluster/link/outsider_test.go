package link

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cluster/link/pki"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// TestRemovalRevokes: a node that was taken out of the site has its
// certificate still, and may do nothing with it but ask whether it may join.
func TestRemovalRevokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		n1, n2 := s.open(s.config(1)), s.open(s.config(2))
		s.connected(2)
		deliver := func() protocol.Status {
			outcome := make(chan protocol.Outcome, 1)
			n2.SendToNode("n1", store.Session{Node: "n1", Epoch: 1, Number: 1}, message("m1"), func(o protocol.Outcome) { outcome <- o })
			return (<-outcome).Status
		}
		n1.SetConfiguration(configuration(1, 1, 2))
		if got := deliver(); got != protocol.StatusOK {
			t.Errorf("a message of a node of the site: %d", got)
		}
		n1.SetConfiguration(configuration(2, 1))
		s.eventually(func() bool { return n2.Connectivity("n1").Connected }, "it has a stream again, to ask")
		if got := deliver(); got != protocol.StatusUnavailable {
			t.Errorf("a message of a node that was removed: %d", got)
		}
		client := s.outsider(n2, n1)
		for _, method := range allMethods() {
			if method == clusterv1.Peer_Messages_FullMethodName || method == clusterv1.Peer_Copy_FullMethodName {
				continue // streams
			}
			err := client.Invoke(t.Context(), method, &clusterv1.StatusRequest{}, &clusterv1.StatusResponse{}, grpc.WaitForReady(true))
			if refused := status.Code(err) == codes.PermissionDenied; refused == joinMethods[method] {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}

// outsider connects one node to another for calls of its own making.
func (s *site) outsider(from, to *Link) *grpc.ClientConn {
	s.t.Helper()
	conn, err := from.mux.dial(s.t.Context(), to.config.NodeID, to.addr, callProtocol)
	if err != nil {
		s.t.Fatal(err)
	}
	client, err := from.newClient(singleUseDialer(conn))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	return client
}

// stays reports whether a connection that a node made stays open for a while.
func stays(l *Link, to *Link, protocol string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := l.mux.dial(ctx, to.config.NodeID, to.addr, protocol)
	if err != nil {
		return false
	}
	defer conn.Close()
	return isOpen(conn)
}

func isOpen(conn net.Conn) bool {
	conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	_, err := conn.Read(make([]byte, 1))
	timeout, ok := err.(net.Error)
	return err == nil || ok && timeout.Timeout()
}

// TestOnlyMembersSpeakRaft: a connection of Raft is a member's, and ends with
// its membership; a node that may join may only call.
func TestOnlyMembersSpeakRaft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(3).up(3)
		n1, n2, n3 := s.links["n1"], s.links["n2"], s.links["n3"]
		go func() { // as Raft's transport does
			for {
				if _, err := n1.mux.raft.Accept(); err != nil {
					return
				}
			}
		}()
		for _, l := range s.links {
			l.SetConfiguration(configuration(1, 1, 2, 3))
		}
		conn, err := n3.mux.dial(t.Context(), "n1", n1.addr, raftProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if !isOpen(conn) {
			t.Error("a member's connection does not stay")
		}
		n1.SetConfiguration(configuration(2, 1, 2))
		if isOpen(conn) {
			t.Error("its connection outlives its membership")
		}
		if stays(n3, n1, raftProtocol) {
			t.Error("it may speak Raft after it was removed")
		}
		if !stays(n2, n1, raftProtocol) {
			t.Error("a member may not speak Raft")
		}
		if !stays(n3, n1, callProtocol) {
			t.Error("it may not ask to join")
		}
		n1.SetRemoved(Removed{Nodes: map[string]bool{"n3": true}})
		if stays(n3, n1, callProtocol) {
			t.Error("an excluded id may call")
		}
		if s.sees(1, "n1 n2 n3") {
			t.Error("gossip brings it back")
		}
		n1.SetRemoved(Removed{Certificates: map[pki.Fingerprint]bool{n3.config.Identity.Fingerprint(): true}})
		if stays(n3, n1, callProtocol) {
			t.Error("a revoked certificate may call")
		}
		s.renew("node-n3")
		if err := n3.config.Identity.Reload(); err != nil {
			t.Fatal(err)
		}
		if !stays(n3, n1, callProtocol) {
			t.Error("an id that was admitted may not ask to join with a new certificate")
		}
	})
}

// TestNobodyIsAdmittedBeforeTheSiteIsKnown: from its start until its log is
// read a node trusts nobody.
func TestNobodyIsAdmittedBeforeTheSiteIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		c := s.config(3)
		l, err := Open(c)
		if err != nil {
			t.Fatal(err)
		}
		s.links["n3"] = l
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		if stays(s.links["n1"], l, raftProtocol) || l.IsMember("n1") {
			t.Error("n1 is a member")
		}
	})
}
