package link

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// Member is a node's gossip metadata. It is a hint: its addresses are dialed
// only to find a certificate that names the node.
type Member struct {
	ID              string
	Incarnation     uint64 // random number of its process
	ClusterAddr     string // host:port of Raft and gRPC between nodes
	ClientAddr      string // host:port for clients; empty: none
	SIMPSAddr       string // likewise with TLS from the first octet
	ClientGuessed   bool   // ClientAddr is for older versions; MOVE does not name it
	SIMPSGuessed    bool   // likewise, of SIMPSAddr
	GRPCAddr        string // services for programs
	Version         string
	MinSchema       uint32
	MaxSchema       uint32
	BootstrapExpect int
	Replica         bool // never votes
	Draining        bool
	Leaving         bool // set by Leave
	// ClusterIDSum is the beginning of the hash of its cluster ID; empty if it
	// has no data or its version does not send it.
	ClusterIDSum string
	// SettingsSum is of the settings that must be the same on all nodes; empty:
	// its version does not say, or it is part of no site yet.
	SettingsSum string
}

// Suspicion says in which way a node fails to respond.
type Suspicion uint8

// The values of Suspicion.
const (
	NotSuspected Suspicion = iota
	Closed                 // its streams broke and it refuses connections: its process has ended
	Silent                 // nothing arrives, not even a refusal: it is paused or cut off
	Rejecting              // it responds, but one of the two does not accept the other as its node
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

// Connectivity is the state of this node's stream to another node.
type Connectivity struct {
	Suspicion Suspicion
	Since     time.Time // when this state began
	Connected bool      // the stream is open
}

// maxMeta is memberlist's limit for metadata; it panics above.
const maxMeta = 512

func (m *Member) encode(site string) ([]byte, error) {
	b, err := proto.Marshal(&clusterv1.Member{
		Site: site, Incarnation: m.Incarnation, ClusterAddr: m.ClusterAddr, ClientAddr: m.ClientAddr, SimpsAddr: m.SIMPSAddr,
		GrpcAddr: m.GRPCAddr, Version: m.Version, MinSchema: m.MinSchema, MaxSchema: m.MaxSchema,
		BootstrapExpect: uint32(m.BootstrapExpect), Replica: m.Replica, Draining: m.Draining, Leaving: m.Leaving,
		ClusterIdSum: []byte(m.ClusterIDSum), ClientAddrGuessed: m.ClientGuessed, SimpsAddrGuessed: m.SIMPSGuessed,
		SettingsSum: []byte(m.SettingsSum),
	})
	if err == nil && len(b) > maxMeta {
		err = fmt.Errorf("what this node tells of itself takes %d octets; gossip has room for %d: use shorter names", len(b), maxMeta)
	}
	return b, err
}

// decodeMember decodes a node's gossip metadata, and the site that it claims
// to belong to.
func decodeMember(id string, meta []byte) (m Member, site string, err error) {
	var p clusterv1.Member
	if err := proto.Unmarshal(meta, &p); err != nil {
		return Member{}, "", fmt.Errorf("what node %q tells of itself: %w", id, err)
	}
	return Member{
		ID: id, Incarnation: p.Incarnation, ClusterAddr: p.ClusterAddr, ClientAddr: p.ClientAddr, SIMPSAddr: p.SimpsAddr,
		GRPCAddr: p.GrpcAddr, Version: p.Version, MinSchema: p.MinSchema, MaxSchema: p.MaxSchema,
		BootstrapExpect: int(p.BootstrapExpect), Replica: p.Replica, Draining: p.Draining, Leaving: p.Leaving,
		ClusterIDSum: string(p.ClusterIdSum), ClientGuessed: p.ClientAddrGuessed, SIMPSGuessed: p.SimpsAddrGuessed,
		SettingsSum: string(p.SettingsSum),
	}, p.Site, nil
}
