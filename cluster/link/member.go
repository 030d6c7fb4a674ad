package link

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// Member is a node as it tells of itself by gossip. A hint: addresses in it
// are dialled only to find a certificate there that names the node.
type Member struct {
	ID              string
	Boot            uint64 // the random number of its process
	ClusterAddr     string // host:port for Raft and gRPC between nodes
	ClientAddr      string // host:port where clients reach it; empty: nowhere
	SIMPSAddr       string // likewise, with TLS from the first octet
	ClientGuessed   bool   // ClientAddr is for older versions; MOVE does not name it
	SIMPSGuessed    bool   // likewise, of SIMPSAddr
	GRPCAddr        string // services for programs
	Version         string
	MinSchema       uint32
	MaxSchema       uint32
	BootstrapExpect int
	Replica         bool // never wants to vote
	Draining        bool
	Zone            string
	Leaving         bool // said by Leave
	// FoundingSum is the first octets of that of the data which the node has;
	// empty: it has none, or its version does not say.
	FoundingSum string
}

// Suspicion is how a node fails to answer.
type Suspicion uint8

// How a node may fail to answer.
const (
	NotSuspected Suspicion = iota
	Closed                 // its streams broke, and a new connection is refused: its process is gone
	Silent                 // nothing comes, not even a refusal: it is paused or cut off
	Rejecting              // it answers, but one of the two does not take the other for its node
)

func (s Suspicion) String() string {
	switch s {
	case NotSuspected:
		return "answers"
	case Closed:
		return "refuses connections"
	case Rejecting:
		return "is not the node that was meant, or rejects this one"
	}
	return "is silent"
}

// Contact is how this node stands with another one by its own stream to it.
type Contact struct {
	Suspicion Suspicion
	Since     time.Time // since when it is so
	Connected bool      // the stream is open now
}

// maxMeta is what memberlist has room for; it panics above.
const maxMeta = 512

func (m *Member) encode(site string) ([]byte, error) {
	b, err := proto.Marshal(&clusterv1.Member{
		Site: site, Boot: m.Boot, ClusterAddr: m.ClusterAddr, ClientAddr: m.ClientAddr, SimpsAddr: m.SIMPSAddr,
		GrpcAddr: m.GRPCAddr, Version: m.Version, MinSchema: m.MinSchema, MaxSchema: m.MaxSchema,
		BootstrapExpect: uint32(m.BootstrapExpect), Replica: m.Replica, Draining: m.Draining, Zone: m.Zone, Leaving: m.Leaving,
		FoundingSum: []byte(m.FoundingSum), ClientAddrGuessed: m.ClientGuessed, SimpsAddrGuessed: m.SIMPSGuessed,
	})
	if err == nil && len(b) > maxMeta {
		err = fmt.Errorf("what this node tells of itself takes %d octets; gossip has room for %d: use shorter names", len(b), maxMeta)
	}
	return b, err
}

// decodeMember reads what a node tells of itself; site is the one it says it is of.
func decodeMember(id string, meta []byte) (m Member, site string, err error) {
	var p clusterv1.Member
	if err := proto.Unmarshal(meta, &p); err != nil {
		return Member{}, "", fmt.Errorf("what node %q tells of itself: %w", id, err)
	}
	return Member{
		ID: id, Boot: p.Boot, ClusterAddr: p.ClusterAddr, ClientAddr: p.ClientAddr, SIMPSAddr: p.SimpsAddr,
		GRPCAddr: p.GrpcAddr, Version: p.Version, MinSchema: p.MinSchema, MaxSchema: p.MaxSchema,
		BootstrapExpect: int(p.BootstrapExpect), Replica: p.Replica, Draining: p.Draining, Zone: p.Zone, Leaving: p.Leaving,
		FoundingSum: string(p.FoundingSum), ClientGuessed: p.ClientAddrGuessed, SIMPSGuessed: p.SimpsAddrGuessed,
	}, p.Site, nil
}
