package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
)

// devOptions are the flags of simpd dev.
type devOptions struct {
	nodes    int
	dataDir  string
	port     int
	password string
	logLevel string
}

// devDomain is the domain of a site for trying out.
const devDomain = "example.com"

// devUsers returns who may log in there.
func devUsers() []string {
	return []string{"alice@" + devDomain, "bob@" + devDomain, "carol@" + devDomain}
}

// The ports of node i (from 1) are those of the standard configuration, each
// devStep further for each node: with the standard --port, node 2 has SIMP on
// 7567 and HTTP on 7580.
const (
	devPort     = 7467
	devStep     = 100
	devWS       = 1 // above the node's SIMP port
	devGRPC     = 2
	devCluster  = 3
	devGossip   = 4
	devConsole  = 8
	devHTTP     = 13
	maxDevNodes = 9
)

func devCommand() *cobra.Command {
	var o devOptions
	c := &cobra.Command{
		Use:   "dev",
		Short: "try out a whole site in this terminal",
		Long: "Runs a whole site in this process, to try it out: real Raft, real gossip, real\n" +
			"sockets, on 127.0.0.1 only and without TLS. Its users are alice, bob and carol at\n" +
			devDomain + ". It keeps nothing unless --data-dir is given.\n\n" +
			"Node i has SIMP on port P+100(i-1), where P is --port. Its other ports are that\n" +
			"one plus 1 for WebSocket and the web chat, 2 for gRPC, 3 for the cluster, 4 for\n" +
			"gossip, 8 for the operators' console and 13 for HTTP.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return runDev(c.Context(), c.OutOrStdout(), o)
		},
	}
	c.Flags().IntVar(&o.nodes, "nodes", 3, "how many nodes")
	c.Flags().StringVar(&o.dataDir, "data-dir", "", "keep the site in this folder")
	c.Flags().IntVar(&o.port, "port", devPort, "SIMP port of the first node")
	c.Flags().StringVar(&o.password, "password", "", "password of all users (a random one if not given)")
	c.Flags().StringVar(&o.logLevel, "log-level", "error", "debug, info, warn or error")
	return c
}

func (o *devOptions) check() error {
	switch {
	case o.nodes < 1 || o.nodes > maxDevNodes:
		return fmt.Errorf("invalid --nodes %d: must be 1 to %d", o.nodes, maxDevNodes)
	case o.port < 1 || o.port+devStep*(o.nodes-1)+devHTTP > 65535:
		return fmt.Errorf("invalid --port %d: it and the nodes' ports above it must be 1 to 65535", o.port)
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, o.logLevel):
		return fmt.Errorf("--log-level %q is not one of debug, info, warn, error", o.logLevel)
	}
	if o.password == "" {
		o.password = "dev-" + strings.ToLower(rand.Text()[:8])
	}
	var bad *protocol.Error
	if errors.As(protocol.CheckPassword(o.password), &bad) {
		return fmt.Errorf("--password: %s", bad.Text)
	}
	return nil
}

// nodeConfig returns the configuration of node i, counted from 1.
func (o *devOptions) nodeConfig(i int) *config {
	at := func(i, above int) string {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port+devStep*(i-1)+above))
	}
	c := &config{
		nodeID: "n" + strconv.Itoa(i), domains: []string{devDomain}, insecure: true, timing: "dev",
		simp: at(i, 0), ws: at(i, devWS), grpc: at(i, devGRPC), cluster: at(i, devCluster), gossip: at(i, devGossip), http: at(i, devHTTP), console: at(i, devConsole), webChat: true,
		bootstrapExpect: devExpect(o.nodes), drainTimeout: time.Second,
	}
	_ = setLimits(c, nil) // the standard is right
	if o.dataDir != "" {
		c.dataDir = filepath.Join(o.dataDir, c.nodeID)
	}
	for j := 1; j <= o.nodes; j++ {
		if j != i {
			c.join = append(c.join, at(j, devGossip))
		}
	}
	return c
}

// devExpect returns the number of nodes, of n, that vote from the start.
func devExpect(n int) int {
	switch {
	case n < 3:
		return n
	case n < 5:
		return 3
	}
	return 5
}

// runDev runs the site until a signal ends it.
func runDev(ctx context.Context, w io.Writer, o devOptions) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	begun := time.Now()
	level := new(slog.LevelVar)
	level.Set(logLevel(o.logLevel))
	s := devSite{options: o, logger: newLogger(os.Stderr, "text", level)}
	defer s.stopNodes()
	defer level.Set(slog.LevelError + 1) // nodes that lose each other at the end are no news
	if err := s.startNodes(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.printBanner(w, time.Since(begun))
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.firstFailure():
		return cli.Failed(err)
	}
}

// devSite is the nodes of one process.
type devSite struct {
	options devOptions
	logger  *slog.Logger
	nodes   []*node
}

// startNodes starts the nodes side by side and makes the users.
func (s *devSite) startNodes(ctx context.Context) error {
	s.nodes = make([]*node, s.options.nodes)
	errs := make([]error, s.options.nodes)
	var all sync.WaitGroup
	for i := range s.nodes {
		all.Go(func() { s.nodes[i], errs[i] = s.startOne(ctx, i+1) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return cli.Failed(s.nodes[0].makeUsers(ctx, devUsers(), s.options.password))
}

func (s *devSite) startOne(ctx context.Context, i int) (*node, error) {
	c := s.options.nodeConfig(i)
	n, err := startNode(ctx, c, s.logger.With("node", c.nodeID), func(string) {})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return n, cli.Failed(n.AwaitReady(ctx))
}

// stopNodes ends all nodes at once: nobody is to be moved anywhere.
func (s *devSite) stopNodes() {
	var all sync.WaitGroup
	for _, n := range s.nodes {
		if n != nil {
			all.Go(n.Kill)
		}
	}
	all.Wait()
}

// firstFailure tells of the first node that can't go on.
func (s *devSite) firstFailure() <-chan error {
	first := make(chan error, len(s.nodes))
	for _, n := range s.nodes {
		go func() {
			select {
			case err := <-n.Broken():
				first <- fmt.Errorf("node %s: %w", n.conf.nodeID, err)
			case <-n.Done():
			}
		}()
	}
	return first
}
