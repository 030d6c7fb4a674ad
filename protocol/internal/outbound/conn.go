package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/tlspolicy"
	"simpd/protocol/tlsrecord"
)

// Conn is a connection to a SIMP server. One goroutine at a time reads from it:
// first the one that performs the handshake, then the reader of lines.
type Conn struct {
	wire
	Target
	TLS         *tls.ConnectionState // nil without TLS
	Hello       ServerHello
	tag         int
	unsolicited int // unexpected lines before AUTH has ended
}

// Timeouts of a connection.
const (
	AliveTimeout     = 30 * time.Second // without an answer to PING
	handshakeTimeout = 15 * time.Second // for TLS
)

// ServerHello is what the server's HELLO response contains.
type ServerHello struct {
	Minor      int // SIMP/1.Minor is what both sides speak
	History    string
	Auth       []string
	Idle       time.Duration
	maxMessage int
}

// NewConn returns a connection to t that nothing was said on.
func NewConn(conn net.Conn, t Target) *Conn {
	return &Conn{wire: wire{Conn: conn}, Target: t}
}

// TooLarge returns why a message of n octets is not sent: the server would
// refuse it, and close the connection if it is far too large. It returns "" if
// the message may be sent.
func (h *ServerHello) TooLarge(n int) string {
	if h.maxMessage <= 0 || n <= h.maxMessage {
		return ""
	}
	return fmt.Sprintf("the server takes messages of at most %d octets", h.maxMessage)
}

// UpgradeToTLS performs STARTTLS. Data that arrived in plaintext after the
// response was injected by an attacker and is an error.
func (o *Conn) UpgradeToTLS(ctx context.Context, c *tls.Config) error {
	_, err := o.request("STARTTLS", nil)
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %s", ErrNoTLS, refused.Text)
	}
	if err != nil {
		return err
	}
	if len(o.unread) > 0 {
		return ProtocolError("something was said in clear after STARTTLS")
	}
	return o.StartTLS(ctx, c)
}

// StartTLS performs the TLS handshake.
func (o *Conn) StartTLS(ctx context.Context, c *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	below := tlsrecord.NewBelow(o.Conn)
	conn := tls.Client(below, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		return handshakeError(err)
	}
	state := conn.ConnectionState()
	if n := ChainOctets(&state); n > maxChainOctets {
		return ProtocolError("its certificates have %d octets; at most %d are taken", n, maxChainOctets)
	}
	o.Conn, o.TLS, o.buf, o.unread = below.Above(conn), &state, nil, nil
	return nil
}

// maxChainOctets limits the size of the other side's certificates, which are
// kept with the connection.
const maxChainOctets = 32 << 10

// ChainOctets returns the size of the other side's certificates.
func ChainOctets(s *tls.ConnectionState) (n int) {
	for _, c := range s.PeerCertificates {
		n += len(c.Raw)
	}
	return n
}

// SecureTLSConfig requires of c a certificate valid for name, at least TLS
// 1.2, and SIMP. It changes and returns c.
func SecureTLSConfig(c *tls.Config, name string) *tls.Config {
	c.ServerName = name
	c.InsecureSkipVerify = false
	c.NextProtos = []string{"simp"}
	c.MinVersion = max(c.MinVersion, tlspolicy.MinVersion)
	c.CipherSuites = tlspolicy.CipherSuites()
	return c
}

// SendHello sends HELLO, and keeps what the server answers. domain is that of
// the address that will log in; "" on a routing connection. A server of
// SIMP/1.0 ignores it.
func (o *Conn) SendHello(agent, domain string) error {
	l, err := o.request("HELLO", func(b []byte) []byte {
		b = protocol.AppendParam(b, "version", protocol.Version)
		if agent != "" {
			b = protocol.AppendParam(b, "agent", agent)
		}
		if domain != "" {
			b = protocol.AppendParam(b, "domain", domain)
		}
		return b
	})
	if err != nil {
		return err
	}
	v := TextParam(l, "version")
	minor := slices.Index(versions, v)
	if minor < 0 {
		return ProtocolError("it speaks %s", protocol.Quote(v))
	}
	o.Hello = ServerHello{
		Minor:      minor,
		History:    strings.Clone(truncate(TextParam(l, "history"), protocol.MaxNote)),
		Auth:       strings.Split(strings.Clone(truncate(TextParam(l, "auth"), protocol.MaxNote)), ","),
		Idle:       time.Duration(max(IntParam(l, "idle"), 10)) * time.Second,
		maxMessage: IntParam(l, "size"),
	}
	return nil
}

// versions are the versions that this program speaks, by their minor number.
var versions = []string{protocol.VersionName(0), protocol.VersionName(1)}

// request sends a request and returns its final 2xx response. The error is a
// *protocol.Error if the server refused.
func (o *Conn) request(verb string, params func([]byte) []byte) (*protocol.Line, error) {
	o.tag++
	l, err := o.Exchange(fmt.Sprint("o", o.tag), verb, params)
	if err == nil && l.Status == protocol.StatusChallenge {
		return nil, ProtocolError("it answers %s with a challenge", verb)
	}
	return l, err
}

// ExchangeFinal sends a request under a tag and returns its final response,
// which must be 200: any other status proves nothing.
func (o *Conn) ExchangeFinal(tag, verb string, params func([]byte) []byte) (*protocol.Line, error) {
	l, err := o.Exchange(tag, verb, params)
	if err == nil && l.Status != protocol.StatusOK {
		return nil, ProtocolError("it answers %s with %d", verb, int(l.Status))
	}
	return l, err
}

// Exchange sends a request under a tag and returns a 2xx response, or a
// challenge, which only AUTH and MORE expect.
func (o *Conn) Exchange(tag, verb string, params func([]byte) []byte) (*protocol.Line, error) {
	b := protocol.AppendRequest(nil, tag, verb)
	if params != nil {
		b = params(b)
	}
	if _, err := o.Conn.Write(protocol.AppendEnd(b)); err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	l, err := o.awaitResponse(tag)
	var refused *protocol.Error
	if err != nil && !errors.As(err, &refused) {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	return l, err
}

// awaitResponse returns the response to tag. Before AUTH has ended the server
// may send only BYE and PING unasked; a few other lines are ignored.
func (o *Conn) awaitResponse(tag string) (*protocol.Line, error) {
	for ; o.unsolicited <= maxUnsolicitedBefore; o.unsolicited++ {
		l, _, err := o.ReadNext(0)
		switch {
		case err != nil:
			return nil, err
		case l.IsRequest() && l.Verb == "BYE":
			return nil, ByeError(l)
		case l.IsRequest() || l.Tag != tag || l.Status.Interim() && l.Status != protocol.StatusChallenge:
			continue
		case l.Status.OK() || l.Status == protocol.StatusChallenge:
			return l, nil
		}
		return nil, Refusal(l)
	}
	return nil, ProtocolError("it sends too much that was not requested")
}

// maxUnsolicitedBefore limits the unexpected lines before AUTH has ended.
const maxUnsolicitedBefore = 32

// ByeError converts a BYE to an error.
func ByeError(l *protocol.Line) error {
	status := protocol.Status(IntParam(l, "status"))
	if status == 0 {
		status = protocol.StatusServerError
	}
	return &protocol.Error{Status: status, Text: "the server closed the connection: " + SanitizeText(l.Text), Retry: IntParam(l, "retry")}
}

// IsLoopback reports whether the connection stays on this machine.
// Connections that are not TCP do.
func (o *Conn) IsLoopback() bool {
	a, isTCP := o.RemoteAddr().(*net.TCPAddr)
	return !isTCP || a.IP.IsLoopback()
}

// WithDeadline calls do, and closes the connection unless do succeeds before
// ctx ends.
func (o *Conn) WithDeadline(ctx context.Context, do func() error) error {
	raw := o.Conn // under TLS, if that is still to begin
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err := do()
	if !stop() {
		err = timeoutError(ctx, "it took the connection, and then did not say what is due")
	}
	if err != nil {
		_ = o.Close()
	}
	return err
}

// PingTag is the tag of the PINGs that limitIdle sends.
const PingTag = "ping"

// LimitIdle has out send a PING after a period of silence, so that the other
// side says something. If it does not, reading fails.
func (o *Conn) LimitIdle(idle time.Duration, out *WriteQueue) {
	ping := protocol.AppendEnd(protocol.AppendRequest(nil, PingTag, "PING"))
	o.idle = idle
	o.onIdle = func() { _, _ = out.Write(ping) }
}
