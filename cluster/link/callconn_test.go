package link

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"simpd/protocol"
)

type raftResponse struct {
	request  raft.RequestVoteRequest
	response raft.RequestVoteResponse
}

func TestANodeThatIsGivenUpIsNotCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		p := s.links["n1"].peers.get("n2")
		s.links["n1"].SetRemoved(Removed{Nodes: map[string]bool{"n2": true}})
		s.links["n1"].SetConfiguration(configuration(1, 1))
		synctest.Wait()
		if _, err := p.callClient(t.Context()); err == nil {
			t.Error("it is called")
		}
		if _, err := s.links["n1"].CallConn(t.Context(), "n2"); err == nil {
			t.Error("it is found for a call")
		}
	})
}

// TestALinkWithoutAListenerIsAlone: it knows of no other node, also where a
// configuration of Raft names some, and says so to who wants one.
func TestALinkWithoutAListenerIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(Config{NodeID: "n1", Site: "example.com", Handler: &handler{}, Dial: func(context.Context, string) (net.Conn, error) {
			t.Error("it dials")
			return nil, errNotKnown
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		transport := l.RaftTransport(nil)
		defer transport.(raft.WithClose).Close()
		l.SetConfiguration(configuration(1, 1, 2))
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		if l.Addr() != "n1" || l.AddrOf("n2") != "" || l.Members() != nil || l.Connectivity("n2") != (Connectivity{}) {
			t.Errorf("at %q, another at %q, %v, %v", l.Addr(), l.AddrOf("n2"), l.Members(), l.Connectivity("n2"))
		}
		if _, err := l.CallConn(t.Context(), "n2"); !errors.Is(err, errAlone) {
			t.Errorf("a call: %v", err)
		}
		if err := transport.RequestVote("n2", "10.0.0.2:7470", &raft.RequestVoteRequest{}, &raft.RequestVoteResponse{}); !errors.Is(err, errAlone) {
			t.Errorf("a call of Raft: %v", err)
		}
		outcome := make(chan protocol.Outcome, 1)
		l.SendToNode("n2", session, message("m1"), func(o protocol.Outcome) { outcome <- o })
		if o := <-outcome; o.Status != protocol.StatusUnavailable {
			t.Errorf("a message: %v", o)
		}
		if err := errors.Join(l.UpdateMember(func(*Member) {}), l.SetKeys(nil), l.Leave()); err != nil {
			t.Error(err)
		}
	})
}
