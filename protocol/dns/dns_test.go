package dns_test

import (
	"errors"
	"net"
	"simpd/protocol/dns"
	"strings"
	"testing"
)

// The resolver that an error names is the one that was asked, not the system's.
func TestADNSServerIsNamedInItsErrors(t *testing.T) {
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := silent.LocalAddr().String()
	silent.Close() // who asks is refused at once
	r := dns.NewServer(address)
	_, _, srv := r.LookupSRV(t.Context(), "simp", "tcp", "two.example")
	_, ip := r.LookupNetIP(t.Context(), "ip", "two.example")
	for what, err := range map[string]error{"SRV": srv, "address": ip} {
		dns, ok := errors.AsType[*net.DNSError](err)
		if !ok || dns.Server != address || !strings.Contains(err.Error(), " on "+address) {
			t.Errorf("%s: %v, want the server %s", what, err, address)
		}
	}
}
