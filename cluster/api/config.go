package api

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	sources "simpd/cluster/accounts"
	"simpd/cluster/lookalike"
	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// Config configures a Server. Fields without "may be" have to be set.
type Config struct {
	NodeID  string
	Site    string   // the site's name, as service certificates bear it
	Domains []string // the domains served, in A-labels

	Table     *store.Table
	Directory Directory
	Messenger Messenger
	Cluster   Cluster
	// Sources are the account sources; they may be nil: there is only the table.
	Sources *sources.Registry

	// TLS is the listener's: it asks for a client certificate, checks one that
	// is given, and may be reloaded through its functions. It may be nil, and
	// then everyone on loopback may do all, and nobody else anything.
	TLS *tls.Config
	// Tokens are the bearer tokens; they may be nil: there are none.
	Tokens *Tokens

	// Memory limits the octets of requests and answers that are under
	// way, shared out among the callers; 0: 64 MiB.
	Memory int64
	// Lookalikes finds accounts of Table; nil: the server has an index of its own.
	Lookalikes *lookalike.Index
	// Console makes links to the operators' consoles; nil: there are none.
	Console ConsoleLinks
	// WebAddress is the URL at which people reach the web chat, for the links of
	// invitations; "": it is not known.
	WebAddress string
	// TempDir holds a backup while it is restored; "" is the system's.
	TempDir string
	// Logger gets the audit records, in the group "audit", and faults.
	Logger *slog.Logger
}

// Directory is the table as all nodes share it. *cluster.Node is one.
type Directory interface {
	// Propose returns once this node has applied the changes, with a result for
	// each. If the error wraps store.ErrUnknown, they may still be applied; if it
	// wraps store.ErrUnavailable, they certainly were not, whatever it wraps
	// besides.
	Propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error)
	// ReadBarrier returns once the table holds every change that any node had
	// acknowledged when ReadBarrier was called.
	ReadBarrier(ctx context.Context) error
	// Applied returns once the nodes (nil: all that are up) have applied
	// index, or are down.
	Applied(ctx context.Context, index uint64, nodes []string) error
	// QuorumLostFor returns for how long this node has been out of touch with the
	// majority; 0: it is in touch.
	QuorumLostFor() time.Duration
	// CaughtUp returns nil if the table has once been level with the site
	// since this node started, and the node is part of the site; otherwise why
	// the table must not be asked.
	CaughtUp() error
}

// Messenger sends messages. *router.Router is one.
type Messenger interface {
	// Send delivers r, whose From is set and allowed, under the users' rules,
	// or tells why not, through r.Done. It never blocks.
	Send(r *protocol.SendRequest)
}

// Cluster is the site as operators control it. The methods may be called at any node;
// their errors are sentences for people, and *protocol.Error where the cause
// is the caller's: 400, 404 (no such node), 409 (not now), 503.
type Cluster interface {
	// Nodes tells of every node of the site, in the order of their ids, and of
	// settings that differ. What the table knows (Sessions, Epoch) is left to the
	// caller.
	Nodes(ctx context.Context) ([]*simpv1.NodeStatus, []*simpv1.SettingDifference, error)
	// TransferLeadership makes the node, or with "" the most fitting, the
	// leader, and returns who leads then.
	TransferLeadership(ctx context.Context, node string) (leader string, err error)
	// RemoveNode takes the node out of the site for good.
	RemoveNode(ctx context.Context, node string) error
	// AdmitNode lets a node that was removed join again, with an empty data
	// directory and another certificate.
	AdmitNode(ctx context.Context, node string) error
	// Drain moves the node's clients and its leadership away, and returns
	// when that is done; progress is called in between, from one goroutine.
	// timeout 0: as the node is configured. It goes on if ctx ends.
	Drain(ctx context.Context, node string, timeout time.Duration, progress func(*simpv1.DrainResponse)) error
	// Undrain lets the node take clients again.
	Undrain(ctx context.Context, node string) error
	// CheckDomain tries to reach another domain's site for one of the site's
	// own domains, and tells each step.
	CheckDomain(ctx context.Context, own, domain string) (*simpv1.CheckDomainResponse, error)
	// Kick closes the user's connections on all nodes, or only the session's,
	// and returns how many.
	Kick(ctx context.Context, user protocol.Address, session *store.Session) (closed int, err error)
}
