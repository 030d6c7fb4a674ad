package link

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// RaftIDEnd ends the node's ID in the header of a Raft call. The rest is for
// the caller's use.
const RaftIDEnd = 0

// RaftHeader returns the header of a Raft call, which may be changed; nil if
// the kind of call is unknown.
func RaftHeader(call raft.RPC) *raft.RPCHeader {
	switch r := call.Command.(type) {
	case *raft.AppendEntriesRequest:
		return &r.RPCHeader
	case *raft.RequestVoteRequest:
		return &r.RPCHeader
	case *raft.RequestPreVoteRequest:
		return &r.RPCHeader
	case *raft.InstallSnapshotRequest:
		return &r.RPCHeader
	case *raft.TimeoutNowRequest:
		return &r.RPCHeader
	}
	return nil
}

// raftInbound receives Raft calls of other nodes. Raft's own transport does
// not tell on which connection a call arrived, so there is one transport for
// each node, which receives only that node's connections.
type raftInbound struct {
	link   *Link
	config raft.NetworkTransportConfig
	calls  chan raft.RPC
	closed chan struct{}
	wg     sync.WaitGroup

	mu        sync.Mutex
	senders   map[string]*raftSender
	heartbeat func(raft.RPC)
	isClosed  bool
}

// raftSender receives the calls of one node.
type raftSender struct {
	*raft.NetworkTransport
	node  string
	conns *subListener
}

// acceptOnlyLayer is a StreamLayer that only accepts.
type acceptOnlyLayer struct{ *subListener }

// Dial is required by the interface only.
func (acceptOnlyLayer) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return nil, errors.New("a transport that takes calls makes none")
}

func newRaftInbound(l *Link, config raft.NetworkTransportConfig) *raftInbound {
	in := &raftInbound{
		link: l, config: config, calls: make(chan raft.RPC), closed: make(chan struct{}), senders: map[string]*raftSender{},
	}
	in.wg.Go(in.acceptLoop)
	return in
}

// acceptLoop passes each connection to its node's transport, until close.
func (in *raftInbound) acceptLoop() {
	for {
		c, err := in.link.mux.raft.Accept()
		if err != nil {
			return
		}
		s := in.senderFor(c.(*peerConn).node)
		if s == nil {
			c.Close()
			return
		}
		select {
		case s.conns.conns <- c:
		case <-in.closed:
			c.Close()
			return
		}
	}
}

// senderFor returns the transport of a node; nil if all are closed.
func (in *raftInbound) senderFor(node string) *raftSender {
	in.mu.Lock()
	defer in.mu.Unlock()
	if s := in.senders[node]; s != nil || in.isClosed {
		return s
	}
	config := in.config
	conns := newSubListener(in.link.mux.raft.Addr())
	config.Stream = acceptOnlyLayer{conns}
	s := &raftSender{NetworkTransport: raft.NewNetworkTransportWithConfig(&config), node: node, conns: conns}
	s.setHeartbeatLocked(in)
	in.senders[node] = s
	in.wg.Go(func() { in.forward(s) })
	return s
}

// forward passes on the calls that a node makes in its own name.
func (in *raftInbound) forward(s *raftSender) {
	for {
		select {
		case call := <-s.NetworkTransport.Consumer():
			if !in.checkSpeaker(s, call) {
				continue
			}
			select {
			case in.calls <- call:
			case <-in.closed:
				call.Respond(nil, raft.ErrTransportShutdown)
				return
			}
		case <-in.closed:
			return
		}
	}
}

// checkSpeaker reports whether a call is in the name of the node that made
// it, and refuses it otherwise. Because an address proves nothing, it adds
// the node's ID to the address by which Raft distinguishes candidates.
func (in *raftInbound) checkSpeaker(s *raftSender, call raft.RPC) bool {
	h := RaftHeader(call)
	if h == nil {
		call.Respond(nil, fmt.Errorf("a call of Raft that is not known: %T", call.Command))
		return false
	}
	if id, _, _ := bytes.Cut(h.ID, []byte{RaftIDEnd}); string(id) != s.node {
		call.Respond(nil, errSpeaker)
		in.link.mux.logRefusal(address(s.node), s.node, fmt.Errorf("%w: %q", errSpeaker, id))
		return false
	}
	h.Addr = slices.Concat([]byte(s.node), []byte{'@'}, h.Addr)
	return true
}

func (in *raftInbound) setHeartbeatHandler(f func(raft.RPC)) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.heartbeat = f
	for _, s := range in.senders {
		s.setHeartbeatLocked(in)
	}
}

// setHeartbeatLocked installs Raft's fast path for heartbeats, if there is
// one. The caller holds in.mu.
func (s *raftSender) setHeartbeatLocked(in *raftInbound) {
	f := in.heartbeat
	if f == nil {
		s.NetworkTransport.SetHeartbeatHandler(nil)
		return
	}
	s.NetworkTransport.SetHeartbeatHandler(func(call raft.RPC) {
		if in.checkSpeaker(s, call) {
			f(call)
		}
	})
}

// close closes all transports.
func (in *raftInbound) close() error {
	in.mu.Lock()
	if in.isClosed {
		in.mu.Unlock()
		return nil
	}
	in.isClosed = true
	close(in.closed)
	senders := in.senders
	in.mu.Unlock()
	var failed error
	for _, s := range senders {
		failed = errors.Join(failed, s.NetworkTransport.Close())
	}
	failed = errors.Join(failed, in.link.mux.raft.Close())
	in.wg.Wait()
	return failed
}
