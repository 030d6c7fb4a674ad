package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"simpd/cluster"
	"simpd/cluster/accounts"
	"simpd/cluster/acmecert"
	"simpd/cluster/api"
	"simpd/cluster/blockfeed"
	"simpd/cluster/console"
	"simpd/cluster/lookalike"
	"simpd/cluster/policy"
	"simpd/cluster/router"
	"simpd/cluster/storage"
	"simpd/cmd/internal/cli"
	"simpd/protocol/httphost"
	"simpd/protocol/server"
	"simpd/protocol/webchat"
	"simpd/store"
)

// node is a running node of a site: all its parts, in the order in which they
// are started.
type node struct {
	conf   *config
	logger *slog.Logger

	keyFiles
	sockets sockets

	partners  *partners // nil: no other site is dealt with
	sources   *accounts.Registry
	accounts  atomic.Pointer[accountsFile]        // that sources is made of
	userRoots atomic.Pointer[x509.CertPool]       // authorities of users' certificates; nil: there are none
	userCAs   atomic.Pointer[[]*x509.Certificate] // in userRoots
	reloaded  atomic.Pointer[string]              // why the last reload failed; nil: it did not
	table     *store.Table

	lookalikes *lookalike.Index // of table

	router   *router.Router
	policy   *policy.Hook // nil: no program is asked
	cluster  *cluster.Node
	acme     *acmecert.Manager // nil: no certificate is obtained by ACME
	feeds    *blockfeed.Manager
	http     *http.Server
	profiles *http.Server

	challenges  *http.Server             // of ACME; nil: they are answered by TLS
	sealingKeys atomic.Pointer[[][]byte] // gossip keys as they were read again; nil: they were not

	scim     *http.Server                  // nil: it is off
	programs atomic.Pointer[api.Server]    // nil: not served yet
	clients  atomic.Pointer[server.Server] // likewise
	console  *console.Server               // nil: not served
	counts   server.Metrics

	gossipBind, gossipAdvertise netip.AddrPort // the second is not valid: they are the same

	tracer   *tracer // nil: no message is traced
	starting starting
	watch    readiness
	leave    leave
	limits   atomic.Pointer[limits] // that are in use
	ctx      context.Context        // of what the node does by itself
	cancel   context.CancelFunc
	serving  sync.WaitGroup
	broken   chan error
	done     chan struct{}
	stopped  sync.Once
}

// startNode starts a node. It returns once every listener is open, which may
// be long before the node is ready, and waits for what this machine does not
// have yet (await); waiting is told of each such wait. The
// end of ctx before it returns ends the start. An error that is a failure is of
// this machine or its disk; any other, of the configuration.
func startNode(ctx context.Context, conf *config, logger *slog.Logger, waiting func(why string)) (*node, error) {
	n := &node{conf: conf, logger: logger, broken: make(chan error, 1), done: make(chan struct{}), sockets: sockets{}}
	n.watch.first = make(chan struct{})
	n.leave.timeout.Store(int64(conf.drainTimeout))
	n.limits.Store(&conf.limits)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, n.cancel)
	n.starting.waiting = waiting
	n.starting.begin()
	for _, step := range []func() error{
		n.serveHTTP, // first: so that the node can be looked at while it starts and joins
		n.readSecrets,
		n.takeAddresses, // before anything is changed on disk
		n.resolveGossip,
		n.joinSite, // the table, the decision, the agreement
		n.servePrograms,
		n.startACME,
		n.startBlockFeeds,
		n.serveConsole,
		n.serveClients, // last: they are greeted by a node that knows its site
	} {
		err := step()
		if err == nil {
			err = n.ctx.Err()
		}
		if err != nil {
			n.Kill()
			return nil, err
		}
	}
	if !stop() {
		n.Kill()
		return nil, ctx.Err()
	}
	n.starting.end()
	n.serving.Go(func() { n.watch.followChanges(n) })
	n.serving.Go(func() { n.logCertificates(n.ctx) })
	return n, nil
}

// serveHTTP takes its addresses itself, before all others are.
func (n *node) serveHTTP() error {
	err := n.retryUntil(func(ctx context.Context) error { return n.sockets.listenAll(ctx, n.conf.httpAddresses()) })
	if err != nil {
		return cli.Failed(err)
	}
	names := httphost.New(n.conf.hostNames()...)
	n.http = newHTTPServer(names, n.Ready, newMetrics(n))
	if l := n.sockets["http-listen"]; l != nil {
		n.serveListener("http-listen", func() error { return n.http.Serve(l) })
	}
	n.profiles = newProfileServer(names)
	if l := n.sockets["pprof-listen"]; l != nil {
		n.serveListener("pprof-listen", func() error { return n.profiles.Serve(l) })
	}
	return nil
}

// readSecrets waits for a clock by which certificates are valid.
func (n *node) readSecrets() error {
	return misconfigured(n.retryUntil(func(context.Context) error {
		f, wrong := n.conf.readFiles()
		if len(wrong) > 0 {
			return wrong[0]
		}
		n.keyFiles = f
		return nil
	}))
}

// takeAddresses makes the data folder and takes every address but those of
// serveHTTP, so that a taken port is found out before anything is changed.
func (n *node) takeAddresses() error {
	if n.conf.dataDir != "" {
		if err := storage.PrepareData(n.conf.dataDir); err != nil {
			return cli.Failed(err)
		}
		n.logger.Info("data directory", "path", n.conf.dataDir)
	}
	return cli.Failed(n.retryUntil(func(ctx context.Context) error {
		if err := n.sockets.listenAll(ctx, n.conf.listenAddresses()); err != nil {
			return err
		}
		return n.conf.tryGossip(ctx)
	}))
}

// resolveGossip finds the addresses of gossip, which go by number.
func (n *node) resolveGossip() error {
	c := n.conf
	return cli.Failed(n.retryUntil(func(ctx context.Context) (err error) {
		if n.gossipBind, err = resolveAddr(ctx, c.gossip); err != nil {
			return fmt.Errorf("--gossip-listen %s: %w", c.gossip, err)
		}
		if c.advertise == "" {
			return nil
		}
		if n.gossipAdvertise, err = resolveAddr(ctx, joinPort(c.advertise, c.gossip)); err != nil {
			return fmt.Errorf("--advertise %s: %w", c.advertise, err)
		}
		return nil
	}))
}

func (n *node) joinSite() error {
	n.table = store.New(store.Config{})
	n.lookalikes = lookalike.New(n.table)
	n.sources = accounts.New(n.conf.domains, n.logger)
	if err := n.setSources(n.conf.accounts); err != nil {
		return misconfigured(err)
	}
	rc := router.Config{
		Node: n.conf.nodeID, Domains: n.conf.domains, Table: n.table, Logger: n.logger,
		Sources: n.sources, Lookalikes: n.lookalikes,
		Leads:  func() bool { return n.cluster.Leader() == n.conf.nodeID },
		Limits: n.conf.limits.site, WatchMemory: watchMemory(presentLimit()),
	}
	var err error
	if n.tracer, err = newTracer(n.ctx, n.conf.nodeID); err != nil {
		return cli.Failed(err)
	}
	if n.tracer != nil {
		rc.Tracer = n.tracer // not else: a nil *tracer is no nil Tracer
	}
	if n.partners, err = n.newPartners(); err != nil {
		return misconfigured(err)
	}
	if n.partners != nil {
		rc.Relay = n.partners
	}
	if n.policy, err = n.newPolicy(); err != nil {
		return misconfigured(err)
	}
	rc.Policy = n.policy
	n.router = router.New(rc)
	c, err := n.clusterConfig()
	if err != nil {
		return cli.Failed(err)
	}
	n.cluster, err = cluster.Open(c)
	if err != nil {
		return cli.Failed(err)
	}
	n.logger.Info("listening", "option", "cluster-listen", "address", n.sockets["cluster-listen"].Addr())
	n.logger.Info("listening", "option", "gossip-listen", "address", n.conf.gossip)
	n.acme = n.newACME()
	n.feeds = n.newBlockFeeds()
	n.router.Start(n.cluster, n.cluster)
	return cli.Failed(n.cluster.Start())
}

func (n *node) servePrograms() error {
	c := api.Config{
		NodeID: n.conf.nodeID, Site: n.siteName(), Domains: n.conf.domains, Table: n.table,
		Directory: n.cluster, Messenger: n.router, Cluster: operations{n}, Sources: n.sources, Tokens: n.tokens,
		TempDir: n.conf.dataDir, Logger: n.logger, WebAddress: n.webAddress(), Lookalikes: n.lookalikes, Memory: programMemory(presentLimit()),
		Console: n.consoleKeys(),
	}
	if n.identity != nil {
		c.TLS = n.identity.Programs("h2")
	}
	programs := api.New(c)
	n.programs.Store(programs)
	if l := n.sockets["grpc-listen"]; l != nil {
		n.serveListener("grpc-listen", func() error { return programs.Serve(l) })
	}
	n.serveSCIM(programs)
	return nil
}

func (n *node) serveClients() error {
	c := server.Config{
		Backend: backend{n.router, n.refusalReason}, Domains: n.conf.domains, Certificates: n.certificates,
		Idle: n.conf.idle, Insecure: n.conf.insecure, Balancers: n.conf.proxies, Exempt: append(thisMachine(), n.conf.exempt...),
		Origins: n.conf.origins, Hosts: n.conf.hostNames(), ForwardedFrom: n.conf.forwarders,
		MaxHeld: heldLimit(presentLimit()), Metrics: &n.counts, Logger: n.logger,
		Limits: n.conf.limits.ofServer(),
	}
	if n.partners != nil {
		c.Federation = n.partners
	}
	if n.conf.userCA != "" {
		n.setUserCA(n.userAuthorities)
		c.UserRoots = n.userRoots.Load
	}
	if n.conf.webChat {
		c.Web = webchat.NewHandler()
	}
	clients, err := server.New(c)
	if err != nil {
		return cli.Failed(err)
	}
	n.clients.Store(clients)
	if l := n.sockets["simp-listen"]; l != nil {
		n.serveListener("simp-listen", func() error { return clients.Serve(l) })
	}
	if l := n.sockets["simps-listen"]; l != nil {
		n.serveListener("simps-listen", func() error { return clients.ServeTLS(l) })
	}
	if l := n.sockets["ws-listen"]; l != nil {
		n.serveListener("ws-listen", func() error { return clients.ServeWebSocket(l) })
	}
	return nil
}

// serveListener runs a listener until the node stops; its end before is the node's.
func (n *node) serveListener(option string, run func() error) {
	n.logger.Info("listening", "option", option, "address", n.sockets[option].Addr())
	n.serving.Go(func() {
		if err := run(); err != nil && n.ctx.Err() == nil {
			n.failWith(fmt.Errorf("--%s: %w", option, err))
		}
	})
}

// failWith says that the process must end. It never blocks; the first error counts.
func (n *node) failWith(err error) {
	select {
	case n.broken <- err:
	default:
	}
}

// Broken yields what the node can't go on with.
func (n *node) Broken() <-chan error { return n.broken }

// Done is closed when the node has stopped.
func (n *node) Done() <-chan struct{} { return n.done }

// Kill ends the node at once, as the end of its process would, but leaves
// nothing running. It is also how a start ends that failed half way.
func (n *node) Kill() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // nobody is waited for
	n.stopParts(ctx, func() error { return n.cluster.Close() })
}

// Stop ends the node in good order, in the reverse of the start; clients are
// moved for as long as ctx allows.
func (n *node) Stop(ctx context.Context) {
	n.moveAway(ctx) // first: while the node can still do all that its clients need
	n.stopParts(ctx, func() error { return n.cluster.Shutdown(ctx) })
}

// stopParts stops the parts that there are, each with its reason for the place.
func (n *node) stopParts(ctx context.Context, leave func() error) {
	n.stopped.Do(func() {
		defer close(n.done)
		n.cancel()
		if clients := n.clients.Load(); clients != nil {
			clients.Shutdown(ctx) // their sessions' ends are still told to the site
		}
		if n.console != nil {
			n.console.Shutdown() // its pages go on at another node
		}
		if n.scim != nil {
			stopSCIM(ctx, n.scim)
		}
		if programs := n.programs.Load(); programs != nil {
			programs.Shutdown(ctx)
		}
		if n.partners != nil {
			n.partners.Close() // what clients have sent elsewhere is answered, or in doubt
		}
		if n.challenges != nil {
			_ = n.challenges.Close()
		}
		if n.router != nil {
			n.router.Shutdown()
		}
		if n.policy != nil {
			_ = n.policy.Close()
		}
		if n.sources != nil {
			n.sources.Close()
		}
		if n.tracer != nil {
			n.tracer.flush(ctx, n.logger)
		}
		if n.cluster != nil {
			if err := leave(); err != nil {
				n.logger.Warn("leaving the site", "error", err)
			}
		}
		if n.http != nil {
			_ = n.http.Close() // last: the node can be looked at to the end
			_ = n.profiles.Close()
		}
		n.sockets.close()
		n.serving.Wait()
	})
}
