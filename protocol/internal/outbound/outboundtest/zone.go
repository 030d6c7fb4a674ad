package outboundtest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// Zone plays DNS.
type Zone struct {
	SRV map[string][]*net.SRV // by service
	IP  map[string]string
	Err error // instead of "not found"
}

// LookupSRV returns the records of a service.
func (z Zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if records, ok := z.SRV[service+" "+proto+" "+name]; ok {
		return "", records, nil
	}
	if z.Err != nil {
		return "", nil, z.Err
	}
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// LookupNetIP returns the addresses of a host.
func (z Zone) LookupNetIP(_ context.Context, _, host string) (ips []netip.Addr, err error) {
	for ip := range strings.FieldsSeq(z.IP[host]) {
		ips = append(ips, netip.MustParseAddr(ip))
	}
	if ips == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return ips, nil
}

// Rebinder names a public address the first time, and one inside afterwards.
type Rebinder struct {
	Zone
	mu    sync.Mutex
	asked int
}

// LookupNetIP returns the one or the other address.
func (r *Rebinder) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked++; r.asked == 1 {
		return []netip.Addr{netip.MustParseAddr("9.0.2.2")}, nil
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}
