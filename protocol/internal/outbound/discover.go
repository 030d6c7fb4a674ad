package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"simpd/protocol/dns"
)

// lookupTimeout is the time for finding the servers of a domain.
const lookupTimeout = 7 * time.Second

// ErrNoService reports that a domain declares that it has no SIMP service.
var ErrNoService = errors.New("there is no SIMP service")

// Target is a host and port where the home server may be.
type Target struct {
	Host     string
	Port     string
	Security Security
	FromDNS  bool // not given by the user
}

func (t Target) String() string { return net.JoinHostPort(t.Host, t.Port) }

// Ports of SIMP (SIMP.md, section 2).
const (
	portStartTLS = "7467"
	portTLS      = "7468"
)

// ParseTarget parses a host:port.
func ParseTarget(address string, s Security) (Target, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" {
		return Target{}, fmt.Errorf("%q is not host:port", address)
	}
	if s == AutoTLS {
		s = StartTLS
		if port == portTLS {
			s = TLS
		}
	}
	return Target{Host: host, Port: port, Security: s}, nil
}

// Discover returns the targets of a domain's home server in the order to try
// them (SIMP.md, section 9; RFC 2782).
func Discover(ctx context.Context, r dns.Resolver, domain string) ([]Target, error) {
	if strings.HasPrefix(domain, "[") {
		return nil, fmt.Errorf("no server can be looked up for an address literal: name one")
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
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
	return []Target{{Host: domain, Port: portStartTLS, Security: StartTLS, FromDNS: true}}, nil
}

// lookupSRV looks up one kind of SRV records. It returns nil, nil if there
// are none.
func lookupSRV(ctx context.Context, r dns.Resolver, service, domain string, s Security) ([]Target, error) {
	_, records, err := r.LookupSRV(ctx, service, "tcp", domain)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		err = nil
	}
	if err != nil && len(records) == 0 {
		return nil, &LookupError{"the server of " + domain, err}
	}
	var found []Target
	for _, record := range records {
		if record.Target == "." {
			return nil, fmt.Errorf("%w: %s says so by an SRV record", ErrNoService, domain)
		}
		port := strconv.Itoa(int(record.Port))
		found = append(found, Target{Host: strings.TrimSuffix(record.Target, "."), Port: port, Security: s, FromDNS: true})
	}
	return found, nil
}

// DialTCP is the default of Config.Dial. It detects a vanished peer within 45
// s, even if data is waiting to be sent.
func DialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 10 * time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	return d.DialContext(ctx, network, address)
}
