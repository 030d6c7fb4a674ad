package link

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cluster/link/pki"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
)

// entered reports whether c gets in with a TLS configuration of its own making:
// whether the listener sends anything but an alert, or stays open for a while.
func entered(s *site, config *tls.Config) bool {
	c, err := s.network.Dialer("10.0.0.99")(s.t.Context(), hostOf(1)+":7470")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	conn := tls.Client(c, config)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if conn.Handshake() != nil {
		return false
	}
	_, err = conn.Read(make([]byte, 1)) // in TLS 1.3 the server's refusal comes after the handshake
	return err == nil
}

func TestNobodyButNodesOfTheSiteGetIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(3)
		s.open(s.config(1))
		other := filepath.Join(t.TempDir(), "other")
		if _, err := pki.Make(pki.Order{Dir: other, Site: "other.example", Nodes: []pki.NodeOrder{{ID: "n2"}}}); err != nil {
			t.Fatal(err)
		}
		load := func(dir, name string) tls.Certificate {
			c, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		node := load(s.certs, "node-n2")
		for _, c := range []struct {
			name  string
			certs []tls.Certificate
			alpn  string
			in    bool
		}{
			{"a node", []tls.Certificate{node}, callProtocol, true},
			{"nobody", nil, callProtocol, false},
			{"a program", []tls.Certificate{load(s.certs, "service-bot")}, callProtocol, false},
			{"a program that speaks Raft", []tls.Certificate{load(s.certs, "service-bot")}, raftProtocol, false},
			{"a node of another site", []tls.Certificate{load(other, "node-n2")}, callProtocol, false},
			{"a node that speaks something else", []tls.Certificate{node}, "h2", false},
			{"a node that does not say what it speaks", []tls.Certificate{node}, "", false},
		} {
			config := &tls.Config{InsecureSkipVerify: true, Certificates: c.certs}
			if c.alpn != "" {
				config.NextProtos = []string{c.alpn}
			}
			if got := entered(s, config); got != c.in {
				t.Errorf("%s gets in: %v", c.name, got)
			}
		}
		config := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{node}, NextProtos: []string{callProtocol}, MaxVersion: tls.VersionTLS12}
		if entered(s, config) {
			t.Error("TLS 1.2 gets in")
		}
	})
}

func TestTheSiteOfAnotherAuthorityIsRefusedEvenIfItIsTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(1)
		id := s.identity("node-n1")
		config := s.config(1)
		config.Site = "another.example"
		config.Identity = id
		if _, err := Open(config); err == nil || !strings.Contains(err.Error(), "simp://example.com/node/n1") {
			t.Errorf("a node with another site's certificate starts: %v", err)
		}
		config.Gossip.Transport.Shutdown()
	})
}

func TestTheNodeThatAnswersHasToBeTheOneThatWasDialled(t *testing.T) {
	for name, secure := range map[string]bool{"insecure": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				if secure {
					s.secure(2)
				}
				s.up(2)
				// n3's address is n2's now.
				s.links["n1"].SetConfiguration(Configuration{Index: 1, Servers: map[string]string{"n3": hostOf(2) + ":7470"}, Voters: map[string]bool{"n3": true}})
				s.eventually(func() bool { return s.links["n1"].Connectivity("n3").Suspicion != NotSuspected }, "n3 is not there")
				var o outcomes
				s.links["n1"].SendToNode("n3", session, message("m"), o.done("m"))
				if o.status("m") != protocol.StatusUnavailable {
					t.Errorf("a message for n3: %d", o.status("m"))
				}
				transport := s.links["n1"].RaftTransport(nil)
				defer transport.(io.Closer).Close()
				var r raftResponse
				if err := transport.RequestVote("n3", "10.0.0.2:7470", &r.request, &r.response); err == nil {
					t.Error("n2 votes for n3")
				}
			})
		})
	}
}

// TestStrangersWhoSayNothingKeepNobodyOut: however many connections strangers
// hold, from one source or from many, nodes connect at once: those that were
// members before, and new ones.
func TestStrangersWhoSayNothingKeepNobodyOut(t *testing.T) {
	for name, sources := range map[string]int{"one source": 1, "many sources": 200} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t).secure(3).up(2)
				var open []net.Conn
				for i := range 400 {
					c, err := s.network.Dialer(fmt.Sprint("10.9.0.", i%sources))(t.Context(), hostOf(1)+":7470")
					if err == nil {
						open = append(open, c)
					}
					synctest.Wait()
				}
				if n := s.links["n1"].slots.strangers.count(); n > strangerHandshakes {
					t.Errorf("%d strangers have slots", n)
				}
				s.network.Reset(hostOf(1), hostOf(2))
				before := time.Now()
				s.connected(2)
				s.open(s.config(3))
				s.connected(3)
				if took := time.Since(before); took > 2*time.Second {
					t.Errorf("it took %v", took)
				}
				for _, c := range open {
					if isOpen(c) {
						c.SetReadDeadline(time.Now().Add(handshakeTimeout))
						if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
							t.Error("one is never sent away")
						}
					}
					c.Close()
				}
			})
		})
	}
}

// TestStrangersAtAMembersAddress: who shares an address with a member, as on
// one machine, has its slots too, and keeps it out none the more.
func TestStrangersAtAMembersAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(2).up(2)
		for range 2 * memberHandshakes {
			s.network.Dialer(hostOf(2))(t.Context(), hostOf(1)+":7470")
			synctest.Wait()
		}
		s.network.Reset(hostOf(1), "")
		s.connected(2)
	})
}

// allMethods returns the full names of the methods of the service.
func allMethods() (all []string) {
	for _, m := range clusterv1.Peer_ServiceDesc.Methods {
		all = append(all, "/simp.cluster.v1.Peer/"+m.MethodName)
	}
	for _, m := range clusterv1.Peer_ServiceDesc.Streams {
		all = append(all, "/simp.cluster.v1.Peer/"+m.StreamName)
	}
	return all
}

func TestMethodsForAllExist(t *testing.T) {
	all := allMethods()
	for m := range joinMethods {
		if !slices.Contains(all, m) {
			t.Errorf("there is no method %s", m)
		}
	}
	if len(joinMethods) != 3 {
		t.Errorf("a node that wants to join may call %v", joinMethods)
	}
}

// TestGRPCWantsAnIntroduction calls the gRPC server past the mux.
func TestGRPCWantsAnIntroduction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		l := s.open(s.config(1))
		for _, node := range []string{"n2", "n3"} {
			incarnation := l.config.Member.Incarnation // client's
			if node == "n3" {
				incarnation++
			}
			if _, err := l.processes.claim(t.Context(), node, process{incarnation: incarnation, checksIncarnation: true}); err != nil {
				t.Fatal(err)
			}
		}
		for name, c := range map[string]struct {
			node, method string
			want         codes.Code
		}{
			"a second process": {"n3", clusterv1.Peer_Status_FullMethodName, codes.PermissionDenied},
			"not let in":       {"n4", clusterv1.Peer_Status_FullMethodName, codes.PermissionDenied},
			"without a node":   {"", clusterv1.Peer_Status_FullMethodName, codes.PermissionDenied},
			"with another":     {"n2", "/simp.cluster.v1.Peer/Other", codes.PermissionDenied},
			"as a node":        {"n2", clusterv1.Peer_Status_FullMethodName, codes.OK},
		} {
			near, far := net.Pipe()
			go l.mux.calls.enqueue(t.Context(), l.mux.track(far, far, "", peerIdentity{node: c.node}))
			client, err := l.newClient(singleUseDialer(l.mux.track(near, near, "", peerIdentity{node: "n1"})))
			if err != nil {
				t.Fatal(err)
			}
			err = client.Invoke(t.Context(), c.method, &clusterv1.StatusRequest{}, &clusterv1.StatusResponse{}, grpc.WaitForReady(true))
			if got := status.Code(err); got != c.want && (c.want == codes.OK || got != codes.Unimplemented) {
				t.Errorf("%s: %v", name, err)
			}
			client.Close()
		}
	})
}

func TestCertificatesAreReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).secure(3)
		c1, c2 := s.config(1), s.config(2)
		s.open(c1)
		s.open(c2)
		s.connected(2)
		streams := s.links["n1"].streams.Load()
		s.renew("node-n1", "node-n2")
		for _, id := range []*pki.Identity{c1.Identity, c2.Identity} {
			before := id.Expires()
			<-time.After(time.Hour)
			if err := id.Reload(); err != nil {
				t.Fatal(err)
			}
			if !id.Expires().After(before) {
				t.Error("the old certificate is still used")
			}
		}
		if s.links["n1"].streams.Load() != streams {
			t.Error("a stream broke")
		}
		s.network.Reset(hostOf(1), hostOf(2))
		s.connected(2)
		s.open(s.config(3))
		s.connected(3)
	})
}

// renew replaces certificates by ones that last two years.
func (s *site) renew(names ...string) {
	s.t.Helper()
	order := pki.Order{Dir: s.certs, Site: "example.com", Lifetime: 2 * 365 * 24 * time.Hour}
	for _, name := range names {
		for _, end := range []string{".crt", ".key"} {
			if err := os.Remove(filepath.Join(s.certs, name+end)); err != nil {
				s.t.Fatal(err)
			}
		}
		order.Nodes = append(order.Nodes, pki.NodeOrder{ID: strings.TrimPrefix(name, "node-")})
	}
	if _, err := pki.Make(order); err != nil {
		s.t.Fatal(err)
	}
}
