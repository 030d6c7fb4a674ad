package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// removed: the keys of a node that was removed still are the site's.
func removed() attack {
	return attack{
		name: "removed-node", actor: removedNode, least: 1,
		never: []string{"RequestVote answered", "TimeoutNow answered", "AppendEntries answered", "Status OK", "ReadIndex OK", "Propose OK", "Command OK", "Copy OK", "Probe tells the cluster's id", "the term was raised"},
		does:  "speak Raft and the nodes' calls with the keys of a removed node, at a high term",
		harms: "be answered, or depose the leader",
		run: func(ctx context.Context, g *ground, t *tally) error {
			certificate, err := tls.LoadX509KeyPair(filepath.Join(g.Keys, "node-"+removedID+".crt"), filepath.Join(g.Keys, "node-"+removedID+".key"))
			if err != nil {
				return err
			}
			return crew(ctx, t, 3, time.Second, func(ctx context.Context, i int) error {
				x := thief{g: g, t: t, certificate: certificate, from: attackSource(200 + i)}
				x.callAll(ctx, g.node(i).Cluster)
				x.speakRaft(g.node(i).Cluster)
				return x.readTerm(ctx, g.node(i).HTTP)
			})
		},
	}
}

// thief has a node's keys.
type thief struct {
	g           *ground
	t           *tally
	certificate tls.Certificate
	from        net.Addr
	closed      chan struct{} // Raft's transport has closed this
}

func (x *thief) dial(to, protocol string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout, LocalAddr: x.from}
	return tls.DialWithDialer(dialer, "tcp", to, &tls.Config{
		InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{x.certificate}, NextProtos: []string{protocol},
	})
}

// callAll tries the nodes' calls.
func (x *thief) callAll(ctx context.Context, to string) {
	c, err := grpc.NewClient("passthrough:///"+to, grpc.WithTransportCredentials(insecure.NewCredentials()), // the dialer speaks TLS
		grpc.WithContextDialer(func(_ context.Context, to string) (net.Conn, error) { return x.dial(to, "simp-cluster/1") }))
	if err != nil {
		return
	}
	defer c.Close()
	peer := clusterv1.NewPeerClient(c)
	for name, call := range map[string]func(ctx context.Context) error{
		"Status":    func(ctx context.Context) error { _, err := peer.Status(ctx, &clusterv1.StatusRequest{}); return err },
		"ReadIndex": func(ctx context.Context) error { return refusal(peer.ReadIndex(ctx, &clusterv1.ReadIndexRequest{})) },
		"Propose":   func(ctx context.Context) error { return refusal(peer.Propose(ctx, &clusterv1.ProposeRequest{})) },
		"Command":   func(ctx context.Context) error { return refusal(peer.Command(ctx, usurpation())) },
		"Copy":      func(ctx context.Context) error { return copyTable(ctx, peer) },
		"Probe":     func(ctx context.Context) error { return x.probe(ctx, peer) },
	} {
		limited, cancel := context.WithTimeout(ctx, 3*time.Second)
		x.t.add(1)
		x.t.tell(name + " " + status.Code(call(limited)).String())
		cancel()
	}
}

// usurpation is an act of administration: the leader is to change.
func usurpation() *clusterv1.CommandRequest {
	return &clusterv1.CommandRequest{Kind: &clusterv1.CommandRequest_TransferLeadership_{TransferLeadership: &clusterv1.CommandRequest_TransferLeadership{}}}
}

// refusal is an error also where the answer says no.
func refusal(answer interface{ GetRefusal() *clusterv1.Refusal }, err error) error {
	if err == nil && answer.GetRefusal() != nil {
		return status.Error(codes.PermissionDenied, "refused")
	}
	return err
}

func copyTable(ctx context.Context, peer clusterv1.PeerClient) error {
	pieces, err := peer.Copy(ctx, &clusterv1.CopyRequest{})
	if err == nil {
		_, err = pieces.Recv()
	}
	return err
}

// probe looks for what opens a door.
func (x *thief) probe(ctx context.Context, peer clusterv1.PeerClient) error {
	said, err := peer.Probe(ctx, &clusterv1.ProbeRequest{})
	if said.GetClusterId() != "" || said.GetHistory() != "" {
		x.t.tell("Probe tells the cluster's id")
	}
	return err
}

// Dial and the listener's methods make the thief's connections Raft's.
func (x *thief) Dial(to raft.ServerAddress, _ time.Duration) (net.Conn, error) {
	return x.dial(string(to), "simp-raft/1")
}

var errNoListener = errors.New("nobody calls a thief")

func (x *thief) Accept() (net.Conn, error) {
	<-x.closed
	return nil, errNoListener
}

func (x *thief) Close() error {
	close(x.closed)
	return nil
}

func (x *thief) Addr() net.Addr { return x.from }

// speakRaft asks for votes at a high term, and would send entries.
func (x *thief) speakRaft(to string) {
	x.closed = make(chan struct{})
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: x, MaxPool: 1, Timeout: 3 * time.Second, Logger: hclog.NewNullLogger()})
	defer transport.Close()
	head := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(removedID), Addr: []byte("10.83.0.14:20004")}
	for name, ask := range map[string]func(at raft.ServerAddress) error{
		"RequestVote": func(at raft.ServerAddress) error {
			return transport.RequestVote("n1", at, &raft.RequestVoteRequest{RPCHeader: head, Term: highTerm, LastLogIndex: highTerm, LastLogTerm: highTerm, LeadershipTransfer: true}, &raft.RequestVoteResponse{})
		},
		"TimeoutNow": func(at raft.ServerAddress) error {
			return transport.TimeoutNow("n1", at, &raft.TimeoutNowRequest{RPCHeader: head}, &raft.TimeoutNowResponse{})
		},
		"AppendEntries": func(at raft.ServerAddress) error {
			return transport.AppendEntries("n1", at, &raft.AppendEntriesRequest{RPCHeader: head, Term: highTerm, PrevLogEntry: 1, PrevLogTerm: 1}, &raft.AppendEntriesResponse{})
		},
	} {
		x.t.add(1)
		if err := ask(raft.ServerAddress(to)); err != nil {
			x.t.tell(name + " refused")
		} else {
			x.t.tell(name + " answered")
		}
	}
}

// highTerm is beyond what a site reaches by itself.
const highTerm = 1 << 40

// readTerm looks whether a node has taken the thief's term.
func (x *thief) readTerm(ctx context.Context, at string) error {
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ask, err := http.NewRequestWithContext(limited, http.MethodGet, "http://"+at+"/metrics", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	_, rest, _ := strings.Cut(string(text), "\nsimp_raft_term ")
	value, _, _ := strings.Cut(rest, "\n")
	switch term, err := strconv.ParseFloat(value, 64); {
	case err != nil:
		x.t.tell("no term is told")
	case term >= highTerm:
		x.t.tell("the term was raised")
	default:
		x.t.tell("the term is its own")
	}
	return nil
}
