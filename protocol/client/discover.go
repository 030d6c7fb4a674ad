package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// errNoService says that a domain wants no messages by SIMP.
var errNoService = errors.New("there is no SIMP service")

// target is a place where the home server may be.
type target struct {
	host     string
	port     string
	security Security
	found    bool // by DNS, not named by the user
}

func (t target) String() string { return net.JoinHostPort(t.host, t.port) }

// Ports of SIMP (SIMP.md, section 2).
const (
	portStartTLS = "7467"
	portTLS      = "7468"
)

// named returns the target that a host:port speaks of.
func named(address string, s Security) (target, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return target{}, fmt.Errorf("%q is not host:port", address)
	}
	if s == ByPort {
		s = StartTLS
		if port == portTLS {
			s = TLS
		}
	}
	return target{host: host, port: port, security: s}, nil
}

// discover returns the places where the home server of a domain may be, in the
// order to try them (SIMP.md, section 9; RFC 2782).
func discover(ctx context.Context, r Resolver, domain string) ([]target, error) {
	if strings.HasPrefix(domain, "[") {
		return nil, fmt.Errorf("no server can be looked up for an address literal: name one")
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for _, service := range []struct {
		name     string
		security Security
	}{{"simps", TLS}, {"simp", StartTLS}} {
		found, err := lookup(ctx, r, service.name, domain, service.security)
		if found != nil || err != nil {
			return found, err
		}
	}
	return []target{{host: domain, port: portStartTLS, security: StartTLS, found: true}}, nil
}

// lookup asks for one kind of SRV records; nil, nil says that there are none.
func lookup(ctx context.Context, r Resolver, service, domain string, s Security) ([]target, error) {
	_, records, err := r.LookupSRV(ctx, service, "tcp", domain)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		err = nil
	}
	if err != nil && len(records) == 0 {
		return nil, fmt.Errorf("looking up the server of %s: %w", domain, err)
	}
	var found []target
	for _, record := range records {
		if record.Target == "." {
			return nil, fmt.Errorf("%w: %s says so by an SRV record", errNoService, domain)
		}
		port := strconv.Itoa(int(record.Port))
		found = append(found, target{host: strings.TrimSuffix(record.Target, "."), port: port, security: s, found: true})
	}
	return found, nil
}

// dialTCP is the default of Config.Dial. A peer that vanished is found within
// 45 s, also while there is something to send.
func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	return d.DialContext(ctx, network, address)
}
