package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"simpd/cluster/console"
	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/httphost"
	"simpd/store"
)

// setConsoleAddress takes the address of this node's console: a URL of a host.
func setConsoleAddress(c *config, v []string) (err error) {
	c.consoleAddress, err = parseBaseURL(v[0], "https://n1.example.com:7475")
	return err
}

// consoleHosts returns the names by which operators may call this node's console,
// besides those of its other listeners.
func (c *config) consoleHosts() (names []string) {
	if u, err := url.Parse(c.consoleAddress); err == nil {
		names = append(names, u.Hostname())
	}
	if host, _, err := net.SplitHostPort(c.console); err == nil {
		names = append(names, host)
	}
	return names
}

// consoleHost returns the host at which operators reach this node, as far as it
// is known; "" if not.
func (c *config) consoleHost() string {
	host, _, _ := net.SplitHostPort(c.console)
	if !isUnspecified(c.console) {
		return host
	}
	for _, address := range []string{c.advertiseClientTLS, c.advertiseClient} {
		if host, _, err := net.SplitHostPort(address); err == nil {
			return host
		}
	}
	return c.advertise
}

// consoleURL returns the address of this node's console; "" if it serves none.
func (n *node) consoleURL() string {
	l := n.sockets["console-listen"]
	if l == nil {
		return ""
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	scheme := "https"
	if isLoopback(n.conf.console) {
		scheme = "http"
	}
	return cmp.Or(n.conf.consoleAddress, scheme+"://"+net.JoinHostPort(n.conf.consoleHost(), port))
}

// consoleKeys returns what signs links to consoles and their sessions.
func (n *node) consoleKeys() *console.Keys {
	return console.NewKeys(n.table.Secret, n.table.ConsoleKey)
}

// serveConsole serves the operators' console, if the node has one. On loopback it
// does so without TLS.
func (n *node) serveConsole() error {
	l := n.sockets["console-listen"]
	if l == nil {
		return nil
	}
	var secure *tls.Config
	if !isLoopback(n.conf.console) {
		secure = n.certificates.TLSConfig()
	}
	n.console = console.NewServer(console.New(console.Config{
		NodeID: n.conf.nodeID, Site: n.siteName(), Hosts: httphost.New(append(n.conf.hostNames(), n.conf.consoleHosts()...)...),
		Keys: n.consoleKeys(), Use: n.useConsoleToken, CaughtUp: n.cluster.CaughtUp, QuorumLostFor: n.cluster.QuorumLostFor,
		Programs: n.programs.Load(), View: consoleView{n}, Logger: n.logger,
	}), secure)
	n.serveListener("console-listen", func() error { return n.console.Serve(l) })
	return nil
}

// useConsoleToken marks the one-time token of a link as used.
func (n *node) useConsoleToken(ctx context.Context, id []byte, until time.Time, generation uint64) error {
	if !n.table.HasConsole() {
		return errors.New("the site is being upgraded; the console works once all nodes are upgraded")
	}
	results, err := n.cluster.Propose(ctx, &storev1.Change{Kind: &storev1.Change_UseConsoleToken{
		UseConsoleToken: &storev1.UseConsoleToken{Id: id, UntilMs: until.UnixMilli(), Generation: generation},
	}})
	switch {
	case errors.Is(err, store.ErrUnknown):
		return errors.New("what became of the link is not known; make another one")
	case err != nil:
		return err
	case results[0].Refusal == store.UsedToken:
		return fmt.Errorf("%w: %s", console.ErrUsed, results[0].Detail)
	case results[0].Refusal != store.None:
		return errors.New(results[0].Detail)
	}
	return nil
}

// outcomeCounts returns the outcomes of messages that were sent through this
// node.
func (n *node) outcomeCounts() (all []*clusterv1.OutcomeCount) {
	n.router.Outcomes(func(s protocol.Status, messages uint64) {
		all = append(all, &clusterv1.OutcomeCount{Status: uint32(s), Count: messages})
	})
	return all
}

// maxObserved limits the other sites that a node tells operators of.
const maxObserved = 500

// observe returns what operators ask of this node alone.
func (n *node) observe(r *clusterv1.ObserveRequest) *clusterv1.ObserveResponse {
	resp := &clusterv1.ObserveResponse{}
	if programs := n.programs.Load(); r.Audit && programs != nil {
		for _, a := range programs.RecentAudit() {
			resp.Audit = append(resp.Audit, &clusterv1.AuditRecord{
				TimeMs: a.Time.UnixMilli(), Who: validText(a.Who), Via: a.Via, What: validText(a.What), Whom: validText(a.Whom), Outcome: a.Outcome, Why: validText(a.Why),
			})
		}
	}
	if r.Domains && n.partners != nil {
		for _, d := range n.partners.DomainStates(maxObserved) {
			told := &clusterv1.RemoteDomain{
				Own: d.Local, Domain: d.Remote, State: d.State, Reason: validText(d.Failure.Text), Status: uint32(d.Failure.Status), Failures: uint32(d.Failures),
				RetryMs: d.RetryIn.Milliseconds(), Waiting: uint32(d.Waiting), Watches: uint32(d.Watches), Route: d.Route, Address: d.Address,
			}
			if !d.Since.IsZero() {
				told.SinceMs = d.Since.UnixMilli()
			}
			resp.Domain = append(resp.Domain, told)
		}
	}
	return resp
}

// consoleView asks the nodes of the site for the console.
type consoleView struct{ *node }

// Audit returns the newest records of the audit log.
func (v consoleView) Audit(ctx context.Context, node string) (o console.Observed[console.AuditRecord]) {
	o.Found = []console.AuditRecord{}
	o.Nodes, o.Silent = v.ask(ctx, node, &clusterv1.ObserveRequest{Audit: true}, func(node string, r *clusterv1.ObserveResponse) {
		for _, a := range r.Audit {
			o.Found = append(o.Found, console.AuditRecord{
				Node: node, TimeMs: a.TimeMs, Who: a.Who, Via: a.Via, What: a.What, Whom: a.Whom, Outcome: a.Outcome, Why: a.Why,
			})
		}
	})
	return o
}

// Domains returns how the nodes stand with other sites.
func (v consoleView) Domains(ctx context.Context, node string) (o console.Observed[console.Domain]) {
	o.Found = []console.Domain{}
	o.Nodes, o.Silent = v.ask(ctx, node, &clusterv1.ObserveRequest{Domains: true}, func(node string, r *clusterv1.ObserveResponse) {
		for _, d := range r.Domain {
			o.Found = append(o.Found, console.Domain{
				Node: node, Own: d.Own, Domain: d.Domain, State: d.State, SinceMs: d.SinceMs, Reason: d.Reason, Status: d.Status, Failures: d.Failures,
				NextMs: nextAttempt(d.RetryMs), Waiting: d.Waiting, Watches: d.Watches, Route: d.Route, Address: d.Address,
			})
		}
	})
	return o
}

// nextAttempt returns when something is due, in whole seconds, so that it reads
// the same at each look.
func nextAttempt(inMs int64) int64 {
	if inMs == 0 {
		return 0
	}
	return time.Now().Add(time.Duration(inMs) * time.Millisecond).Round(time.Second).UnixMilli()
}

// ask asks the nodes, and returns all that there are and those that did not
// answer.
func (v consoleView) ask(ctx context.Context, node string, r *clusterv1.ObserveRequest, take func(node string, r *clusterv1.ObserveResponse)) (nodes, silent []string) {
	nodes, silent = []string{}, []string{}
	for _, known := range v.table.Nodes() {
		nodes = append(nodes, known.ID)
		if known.Down && (node == "" || node == known.ID) {
			silent = append(silent, known.ID)
		}
	}
	if node != "" && (!slices.Contains(nodes, node) || len(silent) > 0) {
		return nodes, silent
	}
	for _, o := range v.cluster.Observe(ctx, node, r) {
		if o.Err != nil {
			silent = append(silent, o.Node)
			continue
		}
		take(o.Node, o.Response)
	}
	return nodes, silent
}
