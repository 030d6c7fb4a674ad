package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"simpd/cluster/link"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// Config says what a node is part of. Its first seven fields are needed.
type Config struct {
	// NodeID names the node in its site, for ever.
	NodeID string
	// Site names the site: its first domain.
	Site string
	// DataDir holds Raft's log, the snapshots and the marker. It is made if
	// it is not there. Empty: nothing outlives the process.
	DataDir string
	// Link says how the node reaches the others. NodeID, Site, Handler,
	// InTouch, Lineage, Check and Logger are filled in, and Member's ID, Boot, Version, schemas
	// and BootstrapExpect.
	Link link.Config
	// Table is the site's table, which only this node writes to.
	Table *store.Table
	// Receiver is what the other nodes reach through this one.
	Receiver Receiver
	// Fatal is called, perhaps more than once and from any goroutine, when
	// the process must end at once: the disk hangs or lies, or the log holds
	// what this version does not know. It may return.
	Fatal func(error)

	// BootstrapExpect is how many nodes form a new site: 1, 2, 3 or 5. 0: this
	// node waits to be taken into one.
	BootstrapExpect int
	Timing          Timing
	Version         string // of simpd, for others to see
	Replica         bool   // never wants to vote
	// Failed is told of failed logins at other nodes. Nil: nobody cares.
	Failed func(a protocol.Attempt, times int)
	// Succeeded is told of logins at other nodes from new sources. It may be nil.
	Succeeded func(a protocol.Attempt)
	// Drain is asked to send the clients of this node away, within that time
	// (0: as it is configured), or to stop doing so. It returns once the table
	// says so. Nil: refused.
	Drain func(ctx context.Context, within time.Duration, undo bool) error
	// Load counts this node's listening sessions and its connections. Nil: none.
	Load func() (sessions, connections uint64)
	// Certificates returns what an operator should know of the certificates and
	// tokens of this node. It may be called from any goroutine. Nil: nothing.
	Certificates func() CertificateStatus
	// UnsetAddresses returns the settings without which this node does not know
	// where clients reach it; nil: none.
	UnsetAddresses func() []string
	// Settings returns those settings of this node that must be the same on all,
	// as they are in use: always the same names in the same order, or none. It
	// may be called from any goroutine. Nil: none.
	Settings func() []*clusterv1.Setting
	Logger   *slog.Logger // nil: none

	bounds logBounds // of Raft's log; zero: the default
}

// CertificateStatus holds what is wrong with a node's certificates and tokens, or
// soon will be. Each list has at most 32 entries.
type CertificateStatus struct {
	Expiring []*clusterv1.Expiry // that end soon, have ended, or are not valid yet
	// UncoveredDomains are domains of the site that no certificate for clients
	// names; ForeignCertificates is whom those name that name no such domain.
	UncoveredDomains, ForeignCertificates []string
}

// Receiver is what the other nodes reach through this one. Its methods are
// called from many goroutines.
type Receiver interface {
	// Deliver takes a message for a session of this node, and calls done
	// exactly once. Neither blocks.
	Deliver(s store.Session, m *protocol.Message, done func(protocol.Outcome))
	// WatchersOf says who watches user through this node, each once. Where their
	// addresses take more than protocol.MaxWatchersOctets it may leave out those
	// who make it still more.
	WatchersOf(user protocol.Address) []protocol.Address
	// Up says that this node has a new epoch, and is to bind its live
	// sessions again. The next epoch is told once it has returned.
	Up(epoch uint64)
	// Kick closes the user's connections here, or only that of session s,
	// and says how many.
	Kick(user protocol.Address, s *store.Session) int
	// Settle returns nil once the sessions here have been told every change
	// up to index, which the table holds already.
	Settle(ctx context.Context, index uint64) error
}

// minSchema is the oldest schema of the log's entries that this version reads;
// the table knows the newest.
const minSchema = store.OldestSchema

func (c *Config) check() error {
	switch {
	case c.NodeID == "":
		return errors.New("a node needs an id")
	case c.Site == "":
		return errors.New("a node needs a site")
	case c.Table == nil, c.Receiver == nil, c.Fatal == nil:
		return errors.New("a node needs a table, a receiver and a way to end the process")
	case !slices.Contains([]int{0, 1, 2, 3, 5}, c.BootstrapExpect):
		return fmt.Errorf("a new site forms of 1, 2, 3 or 5 nodes, not of %d", c.BootstrapExpect)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
