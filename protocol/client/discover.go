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

// errNoService reports that a domain declares that it has no SIMP service.
var errNoService = errors.New("there is no SIMP service")

// target is a host and port where the home server may be.
type target struct {
	host     string
	port     string
	security Security
	fromDNS  bool // not given by the user
}

func (t target) String() string { return net.JoinHostPort(t.host, t.port) }

// Ports of SIMP (SIMP.md, section 2).
const (
	portStartTLS = "7467"
	portTLS      = "7468"
)

// parseTarget parses a host:port.
func parseTarget(address string, s Security) (target, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return target{}, fmt.Errorf("%q is not host:port", address)
	}
	if s == AutoTLS {
		s = StartTLS
		if port == portTLS {
			s = TLS
		}
	}
	return target{host: host, port: port, security: s}, nil
}

// discover returns the targets of a domain's home server in the order to try
// them (SIMP.md, section 9; RFC 2782).
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
		found, err := lookupSRV(ctx, r, service.name, domain, service.security)
		if found != nil || err != nil {
			return found, err
		}
	}
	return []target{{host: domain, port: portStartTLS, security: StartTLS, fromDNS: true}}, nil
}

// lookupSRV looks up one kind of SRV records. It returns nil, nil if there
// are none.
func lookupSRV(ctx context.Context, r Resolver, service, domain string, s Security) ([]target, error) {
	_, records, err := r.LookupSRV(ctx, service, "tcp", domain)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		err = nil
	}
	if err != nil && len(records) == 0 {
		return nil, &lookupError{"the server of " + domain, err}
	}
	var found []target
	for _, record := range records {
		if record.Target == "." {
			return nil, fmt.Errorf("%w: %s says so by an SRV record", errNoService, domain)
		}
		port := strconv.Itoa(int(record.Port))
		found = append(found, target{host: strings.TrimSuffix(record.Target, "."), port: port, security: s, fromDNS: true})
	}
	return found, nil
}

// dialTCP is the default of Config.Dial. It detects a vanished peer within 45
// s, even if data is waiting to be sent.
func dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	return d.DialContext(ctx, network, address)
}
