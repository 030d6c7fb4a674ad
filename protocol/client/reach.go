package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"simpd/protocol"
)

// How long an attempt to reach another site may take.
const (
	attemptTime  = 9 * time.Second        // in all, so that who waits 10 s is told
	raceTime     = 3 * time.Second        // for TCP to one target
	talkTime     = 5 * time.Second        // for TLS and HELLO there
	headStart    = 250 * time.Millisecond // of one address before the next (RFC 8305)
	maxTargets   = 16                     // tried in an attempt
	maxAddresses = 8                      // of a target
)

var errPrivate = errors.New("it has no public address, and no route of the operator's leads there")

// reach connects to other's home server for own, up to HELLO. The certificate
// is checked for other, whatever name led there.
func (r *Relay) reach(ctx context.Context, w way) (*opening, error) {
	targets, private, err := r.targets(ctx, w.other)
	if err != nil {
		return nil, err
	}
	failed := fmt.Errorf("%s names no server", w.other)
	for _, t := range targets {
		o, err := r.reachTarget(ctx, w, t, private)
		if err == nil {
			return o, nil
		}
		if failed = fmt.Errorf("%s: %w", t, err); ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// targets returns the places where other may be, and whether they may be on
// private addresses.
func (r *Relay) targets(ctx context.Context, other string) (targets []target, private bool, err error) {
	route := r.Federation().Routes[other]
	if route != "" && route != protocol.ByDNS {
		t, err := named(route, ByPort)
		return []target{t}, true, err
	}
	targets, err = discover(ctx, r.names, other)
	return targets[:min(len(targets), maxTargets)], route == protocol.ByDNS, err
}

func (r *Relay) reachTarget(ctx context.Context, w way, t target, private bool) (*opening, error) {
	addresses, err := r.addresses(ctx, t, private)
	if err != nil {
		return nil, err
	}
	conn, err := r.race(ctx, addresses)
	if err != nil {
		return nil, err
	}
	o := &opening{wire: wire{Conn: conn}, target: t}
	ctx, cancel := context.WithTimeout(ctx, talkTime)
	defer cancel()
	if err := o.within(ctx, func() error { return r.greet(ctx, o, w) }); err != nil {
		return nil, err
	}
	return o, nil
}

// addresses returns the host:ports of a target, IPv6 and IPv4 in turn.
func (r *Relay) addresses(ctx context.Context, t target, private bool) ([]string, error) {
	ips, err := r.ips(ctx, t.host)
	if err != nil {
		return nil, fmt.Errorf("looking up its address: %w", err)
	}
	var six, four []string
	for _, ip := range ips {
		if ip = ip.Unmap(); !private && !isPublic(ip) {
			continue
		}
		if at := net.JoinHostPort(ip.String(), t.port); ip.Is4() {
			four = append(four, at)
		} else {
			six = append(six, at)
		}
	}
	all := alternate(six, four)
	if len(all) == 0 {
		return nil, errPrivate
	}
	return all[:min(len(all), maxAddresses)], nil
}

func (r *Relay) ips(ctx context.Context, host string) ([]netip.Addr, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip}, nil
	}
	return r.names.LookupNetIP(ctx, "ip", host)
}

func alternate(a, b []string) (all []string) {
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			all = append(all, a[i])
		}
		if i < len(b) {
			all = append(all, b[i])
		}
	}
	return all
}

// dialled is what became of one address.
type dialled struct {
	conn net.Conn
	err  error
}

// race connects to the first address that answers, each begun a little after
// the one before it, or at once when that has failed.
func (r *Relay) race(ctx context.Context, addresses []string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, raceTime)
	defer cancel()
	results := make(chan dialled, len(addresses))
	begun, failed := 0, error(nil)
	begin := func() {
		address := addresses[begun]
		begun++
		r.wg.Go(func() {
			conn, err := r.Dial(ctx, "tcp", address)
			results <- dialled{conn, err}
		})
	}
	next := time.NewTicker(headStart)
	defer next.Stop()
	begin()
	for ended := 0; ended < len(addresses); {
		select {
		case <-next.C:
			if begun < len(addresses) {
				begin()
			}
		case d := <-results:
			if ended++; d.err == nil {
				r.wg.Go(func() { hangUpAll(results, begun-ended) })
				return d.conn, nil
			}
			if failed = d.err; ctx.Err() != nil {
				failed = inTime(ctx, "it did not answer")
			}
			if begun < len(addresses) {
				begin()
			}
		case <-ctx.Done():
			r.wg.Go(func() { hangUpAll(results, begun-ended) })
			return nil, inTime(ctx, "it did not answer")
		}
	}
	return nil, failed
}

// hangUpAll closes the connections that came too late.
func hangUpAll(results <-chan dialled, left int) {
	for range left {
		if d := <-results; d.err == nil {
			_ = d.conn.Close()
		}
	}
}

// within does a part of the opening, and closes the connection unless that
// succeeds before ctx ends.
func (o *opening) within(ctx context.Context, do func() error) error {
	raw := o.Conn // under TLS, if that is still to begin
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err := do()
	if !stop() {
		err = inTime(ctx, "it took the connection, and then did not say what is due")
	}
	if err != nil {
		_ = o.Close()
	}
	return err
}

// greet says all that comes before AUTH. TLS is not an offer here.
func (r *Relay) greet(ctx context.Context, o *opening, w way) error {
	c := r.tlsConfig(w)
	if o.security == TLS {
		if err := o.startTLS(ctx, c); err != nil {
			return err
		}
	}
	if err := o.greeting(); err != nil {
		return err
	}
	if o.tls == nil {
		if err := o.upgrade(ctx, c); err != nil {
			return err
		}
	}
	return o.sayHello(r.Agent)
}

// tlsConfig shows own's certificate to whom it is asked by.
func (r *Relay) tlsConfig(w way) *tls.Config {
	own := r.Certificate(w.own)
	if own == nil {
		own = new(tls.Certificate)
	}
	return secured(&tls.Config{
		RootCAs:              r.Roots(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
	}, w.other)
}

// outcomeOf is what an attempt that failed means for a message of which
// nothing was handed over: 504 where no connection came about in time. What
// this site itself refuses is said as it stands.
func outcomeOf(err error) protocol.Outcome {
	var network net.Error
	if own, ok := err.(*protocol.Error); ok {
		return protocol.Outcome{Status: own.Status, Text: own.Text}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout() {
		return protocol.Outcome{Status: protocol.StatusRemoteTimeout, Text: "no connection came about in time: " + err.Error()}
	}
	return protocol.Outcome{Status: protocol.StatusRemoteFailure, Text: err.Error()}
}
