package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"simpd/cluster/link"
	"simpd/cluster/ratelimit"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// Config configures a Node. The first seven fields are required.
type Config struct {
	// NodeID is the node's permanent name in its site.
	NodeID string
	// Site is the site's name: its first domain.
	Site string
	// DataDir holds Raft's log, the snapshots and the manifest. It is created if
	// necessary. Empty keeps everything in memory.
	DataDir string
	// Link says how the node reaches the others. NodeID, Site, Handler, Calls,
	// InTouch, Lineage, Check and Logger are filled in, and Member's ID,
	// Incarnation, Version, schemas, BootstrapExpect and Replica.
	Link link.Config
	// Table is the site's table, which only this node writes to.
	Table *store.Table
	// Receiver serves the other nodes.
	Receiver Receiver
	// Fatal is called, possibly more than once and from any goroutine, if the
	// process must end at once: the disk hangs or returns wrong data, or the log
	// contains what this version does not know. It may return.
	Fatal func(error)

	// BootstrapExpect is the number of nodes that form a new site: 1, 2, 3 or 5.
	// 0 waits to be taken into one.
	BootstrapExpect int
	Timing          Timing
	Version         string // of simpd, shown to others
	// Failed is called with failed logins at other nodes. It may be nil.
	Failed func(a protocol.Attempt, times int)
	// Succeeded is called with logins at other nodes from new sources. It may be
	// nil.
	Succeeded func(a protocol.Attempt)
	// Counted is called with what other nodes have counted of the site's limits.
	// It may be nil.
	Counted func(node string, counts []ratelimit.Count)
	// Drain is asked to send the clients of this node away, within that time
	// (0: as it is configured), or to stop doing so. It returns once the table
	// says so. Nil: refused.
	Drain func(ctx context.Context, within time.Duration, undo bool) error
	// Load returns this node's numbers of listening sessions and connections. It
	// may be nil.
	Load func() (sessions, connections uint64)
	// Certificates returns what an operator should know of the certificates and
	// tokens of this node. It may be called from any goroutine. Nil: nothing.
	Certificates func() CertificateStatus
	// UnsetAddresses returns the settings without which this node does not know
	// where clients reach it; nil: none.
	UnsetAddresses func() []string
	// Warnings returns sentences about what does not work as this node is
	// configured; nil: none.
	Warnings func() []string
	// SourceKeys returns the keys of the provider of an account source for another
	// node, while this one leads. An error that is ErrRefused means that there are
	// none. It may be called from any goroutine; nil: there are none.
	SourceKeys func(context.Context, *clusterv1.SourceKeysRequest) (*clusterv1.ProviderKeys, error)
	// Settings returns those settings of this node that must be the same on all,
	// as they are in use: always the same names in the same order, or none. It
	// may be called from any goroutine. Nil: none.
	Settings func() []*clusterv1.Setting
	// ConsoleAddress is the URL of this node's operators' console; empty: none.
	ConsoleAddress string
	// Outcomes returns the outcomes of messages that were sent through this node.
	// Nil: none.
	Outcomes func() []*clusterv1.OutcomeCount
	// Observe returns what operators ask of this node. It may be called from any
	// goroutine. Nil: nothing.
	Observe func(*clusterv1.ObserveRequest) *clusterv1.ObserveResponse
	Logger  *slog.Logger // nil: none

	bounds  logBounds // of Raft's log; zero: the default
	replica bool      // never votes
}

// CertificateStatus lists what is or will soon be wrong with a node's
// certificates and tokens. Each list has at most 32 entries.
type CertificateStatus struct {
	Expiring []*clusterv1.Expiry // that expire soon, have expired, or are not valid yet
	// UncoveredDomains are domains of the site that no certificate for clients
	// names; ForeignCertificates is whom those name that name no such domain.
	UncoveredDomains, ForeignCertificates []string
}

// Receiver serves the other nodes. Its methods are called from many
// goroutines.
type Receiver interface {
	// DeliverToSession delivers a message to a session of this node, and calls done
	// exactly once. Neither blocks.
	DeliverToSession(s store.Session, m *protocol.Message, done func(protocol.Outcome))
	// WatchersOf returns who watches user on this node, each once. It may stop
	// when their addresses exceed protocol.MaxWatchersOctets.
	WatchersOf(user protocol.Address) []protocol.Address
	// Up reports that this node has a new epoch, so that its live sessions are
	// bound again. The next epoch is reported after it has returned.
	Up(epoch uint64)
	// Kick closes the user's connections here, or only the one with session s,
	// and returns how many it closed.
	Kick(user protocol.Address, s *store.Session) int
	// Settle returns nil once the sessions here have been notified of every
	// change up to index, which the table already contains.
	Settle(ctx context.Context, index uint64) error
}

// minSchema is the oldest log schema that this version reads; the table knows
// the newest.
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
