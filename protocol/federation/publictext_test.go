package federation_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"simpd/protocol"
	"simpd/protocol/federation"
	"simpd/protocol/internal/outbound/outboundtest"
)

var (
	innerResolver = &net.UDPAddr{IP: net.IPv4(10, 0, 0, 53), Port: 53}
	innerAddress  = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 41234}
	refusedDial   = os.NewSyscallError("connect", syscall.ECONNREFUSED)
)

// What users and other sites are told of another site that can't be reached names
// nothing of this one; the log tells the operator all.
func TestUsersAreNotToldOfInnerAddresses(t *testing.T) {
	lookup := func(text string, timeout bool) error {
		return &net.DNSError{Err: text, Name: "_simps._tcp.two.example", Server: innerResolver.String(), IsTimeout: timeout, IsTemporary: true}
	}
	ioTimeout := "read udp 10.0.0.7:41234->10.0.0.53:53: i/o timeout"
	for name, c := range map[string]struct {
		set  func(*abroad)
		told string // to users
		kept string // for operators
	}{
		"the resolver fails":     {func(a *abroad) { a.Zone = outboundtest.Zone{Err: lookup("server misbehaving", false)} }, "DNS gave no answer", "10.0.0.53:53"},
		"the resolver is silent": {func(a *abroad) { a.Zone = outboundtest.Zone{Err: lookup(ioTimeout, true)} }, "DNS did not answer in time", "10.0.0.53:53"},
		"the resolver can't be asked": {func(a *abroad) {
			a.Zone = outboundtest.Zone{Err: &net.OpError{Op: "dial", Net: "udp", Source: innerAddress, Addr: innerResolver, Err: refusedDial}}
		}, "DNS gave no answer", "10.0.0.53:53"},
		"another error of the resolver": {func(a *abroad) { a.Zone = outboundtest.Zone{Err: errors.New("asking dns1.inner.example")} }, "DNS gave no answer", "dns1.inner"},
		"nothing listens": {func(a *abroad) {
			a.dialErr = &net.OpError{Op: "dial", Net: "tcp", Source: innerAddress, Addr: innerResolver, Err: refusedDial}
		}, "host.example.net:7468: it can't be connected: connect: connection refused", "10.0.0.7:41234"},
		"the connection breaks": {func(a *abroad) {
			a.dialErr = fmt.Errorf("TLS: %w", &net.OpError{Op: "read", Net: "tcp", Source: innerAddress, Addr: innerResolver, Err: os.NewSyscallError("read", syscall.ECONNRESET)})
		}, "TLS: the connection has failed: read: connection reset by peer", "10.0.0.7:41234"},
		"a route leads nowhere": {func(a *abroad) {
			a.rules.Routes = map[string]string{"two.example": "gateway.inner.example:7468"}
			a.dialErr = &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "gateway.inner.example", Server: innerResolver.String(), IsNotFound: true}}
		}, "looking up its address: no such host", "gateway.inner.example:7468"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			goAbroad(t, func(a *abroad, r *federation.Config) {
				r.Logger = slog.New(slog.NewTextHandler(&log, nil))
				c.set(a)
			}, func(a *abroad) {
				checkPublic(t, a.send("bob@two.example").Text, c.told)
				var refused *protocol.Error
				if err := a.relay.Verify(context.Background(), "two.example", "one.example", make([]byte, 16), nil); !errors.As(err, &refused) {
					t.Errorf("verifying: %v", err)
				} else {
					checkPublic(t, refused.Text, c.told)
				}
			})
			if !strings.Contains(log.String(), c.kept) {
				t.Errorf("the log does not name %s: %s", c.kept, log.String())
			}
		})
	}
}

// checkPublic fails unless a text for users says what it has to, and nothing inner.
func checkPublic(t *testing.T, text, told string) {
	t.Helper()
	if !strings.Contains(text, told) {
		t.Errorf("users are told %q, want %q", text, told)
	}
	for _, inner := range []string{"10.0.0", "inner"} {
		if strings.Contains(text, inner) {
			t.Errorf("users are told %q", text)
		}
	}
}
