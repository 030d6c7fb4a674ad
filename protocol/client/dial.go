package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/tlsrecord"
)

// dialer opens connections as configured.
type dialer struct {
	config     Config
	secret     *secret
	dialsNames bool            // Dial resolves names itself
	running    *sync.WaitGroup // goroutines that dial
}

var errUnsafe = errors.New("it is not safe")

// handshakeConn is a connection before it is authenticated.
type handshakeConn struct {
	wire
	target
	tls         *tls.ConnectionState // nil without TLS
	hello       serverHello
	tag         int
	unsolicited int // unexpected lines before AUTH has ended
}

// serverHello is what the server's HELLO response contains.
type serverHello struct {
	history    string
	auth       []string
	idle       time.Duration
	maxMessage int
}

// dial connects to the home server, logs in, and returns the connection.
func (d *dialer) dial(ctx context.Context) (*handshakeConn, error) {
	targets, err := d.targets(ctx)
	if err != nil {
		return nil, err
	}
	return d.dialAny(ctx, targets)
}

// dialAny returns the first connection on which the login succeeds.
func (d *dialer) dialAny(ctx context.Context, targets []target) (*handshakeConn, error) {
	c := &connector{resolver: d.config.Resolver, dial: d.config.Dial, dialsNames: d.dialsNames, timeout: connectTimeout, running: d.running}
	c.allowPrivate = d.config.AllowPrivate || len(targets) > 0 && !targets[0].fromDNS
	return c.connectAny(ctx, targets, func(conn net.Conn, t target) (*handshakeConn, error) { return d.open(ctx, t, conn) }, isFinal)
}

func (d *dialer) targets(ctx context.Context) ([]target, error) {
	if d.config.Server != "" {
		t, err := parseTarget(d.config.Server, d.config.Security)
		return []target{t}, err
	}
	targets, err := discover(ctx, d.config.Resolver, d.config.User.Domain())
	for i := range targets {
		if d.config.Security != AutoTLS {
			targets[i].security = d.config.Security
		}
	}
	return targets, err
}

// open logs in on a connection.
func (d *dialer) open(ctx context.Context, t target, conn net.Conn) (*handshakeConn, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	o := &handshakeConn{wire: wire{Conn: conn}, target: t}
	if err := o.withDeadline(ctx, func() error { return d.handshake(ctx, o) }); err != nil {
		return nil, fmt.Errorf("logging in at %s: %w", t, err)
	}
	return o, nil
}

// startImplicitTLS starts TLS if it is to start with the first octet.
func (d *dialer) startImplicitTLS(ctx context.Context, o *handshakeConn) error {
	switch {
	case o.security == TLS:
		return o.startTLS(ctx, d.tlsConfig())
	case o.security == Plaintext && !o.isLoopback():
		return fmt.Errorf("%w to speak in clear to another machine", errUnsafe)
	}
	return nil
}

// handshake performs everything before the user's first request.
func (d *dialer) handshake(ctx context.Context, o *handshakeConn) error {
	if err := d.startImplicitTLS(ctx, o); err != nil {
		return err
	}
	if err := o.readGreeting(); err != nil {
		return err
	}
	if o.security == StartTLS {
		if err := o.upgradeToTLS(ctx, d.tlsConfig()); err != nil {
			return err
		}
	}
	if err := o.sendHello(d.config.Agent); err != nil {
		return err
	}
	return d.authenticate(o)
}

// upgradeToTLS performs STARTTLS. Data that arrived in plaintext after the
// response was injected by an attacker and is an error.
func (o *handshakeConn) upgradeToTLS(ctx context.Context, c *tls.Config) error {
	_, err := o.request("STARTTLS", nil)
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %s", ErrNoTLS, refused.Text)
	}
	if err != nil {
		return err
	}
	if len(o.unread) > 0 {
		return protocolError("something was said in clear after STARTTLS")
	}
	return o.startTLS(ctx, c)
}

func (o *handshakeConn) startTLS(ctx context.Context, c *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	below := tlsrecord.NewBelow(o.Conn)
	conn := tls.Client(below, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		return handshakeError(err)
	}
	state := conn.ConnectionState()
	if n := chainOctets(&state); n > maxChainOctets {
		return protocolError("its certificates have %d octets; at most %d are taken", n, maxChainOctets)
	}
	o.Conn, o.tls, o.buf, o.unread = below.Above(conn), &state, nil, nil
	return nil
}

// maxChainOctets limits the size of the other side's certificates, which are
// kept with the connection.
const maxChainOctets = 32 << 10

// chainOctets returns the size of the other side's certificates.
func chainOctets(s *tls.ConnectionState) (n int) {
	for _, c := range s.PeerCertificates {
		n += len(c.Raw)
	}
	return n
}

// tlsConfig requires a certificate for the domain of the user's address,
// whatever name led to the server.
func (d *dialer) tlsConfig() *tls.Config {
	c := d.config.TLS.Clone()
	if c == nil {
		c = new(tls.Config)
	}
	return secureTLSConfig(c, certificateName(d.config.User))
}

// secureTLSConfig requires of c a certificate valid for name, at least TLS
// 1.2, and SIMP. It changes and returns c.
func secureTLSConfig(c *tls.Config, name string) *tls.Config {
	c.ServerName = name
	c.InsecureSkipVerify = false
	c.NextProtos = []string{"simp"}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.CipherSuites = forwardSecretSuites()
	return c
}

// forwardSecretSuites returns the TLS 1.2 suites with forward secrecy and
// authenticated encryption; all suites of TLS 1.3 have both.
func forwardSecretSuites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// certificateName returns the domain, or the contents of an address literal.
func certificateName(a protocol.Address) string {
	name := strings.TrimSuffix(strings.TrimPrefix(a.Domain(), "["), "]")
	return strings.TrimPrefix(name, "IPv6:")
}

func (o *handshakeConn) sendHello(agent string) error {
	l, err := o.request("HELLO", func(b []byte) []byte {
		b = protocol.AppendParam(b, "version", protocol.Version)
		if agent != "" {
			b = protocol.AppendParam(b, "agent", agent)
		}
		return b
	})
	if err != nil {
		return err
	}
	if v := textParam(l, "version"); v != protocol.Version {
		return protocolError("it speaks %s", protocol.Quote(v))
	}
	o.hello = serverHello{
		history:    strings.Clone(truncate(textParam(l, "history"), protocol.MaxNote)),
		auth:       strings.Split(strings.Clone(truncate(textParam(l, "auth"), protocol.MaxNote)), ","),
		idle:       time.Duration(max(intParam(l, "idle"), 10)) * time.Second,
		maxMessage: intParam(l, "size"),
	}
	return nil
}

// request sends a request and returns its final 2xx response. The error is a
// *protocol.Error if the server refused.
func (o *handshakeConn) request(verb string, params func([]byte) []byte) (*protocol.Line, error) {
	o.tag++
	l, err := o.exchange(fmt.Sprint("o", o.tag), verb, params)
	if err == nil && l.Status == protocol.StatusChallenge {
		return nil, protocolError("it answers %s with a challenge", verb)
	}
	return l, err
}

// exchangeFinal sends a request under a tag and returns its final response,
// which must be 200: any other status proves nothing.
func (o *handshakeConn) exchangeFinal(tag, verb string, params func([]byte) []byte) (*protocol.Line, error) {
	l, err := o.exchange(tag, verb, params)
	if err == nil && l.Status != protocol.StatusOK {
		return nil, protocolError("it answers %s with %d", verb, int(l.Status))
	}
	return l, err
}

// exchange sends a request under a tag and returns a 2xx response, or a
// challenge, which only AUTH and MORE expect.
func (o *handshakeConn) exchange(tag, verb string, params func([]byte) []byte) (*protocol.Line, error) {
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
func (o *handshakeConn) awaitResponse(tag string) (*protocol.Line, error) {
	for ; o.unsolicited <= maxUnsolicitedBefore; o.unsolicited++ {
		l, _, err := o.readNext(0)
		switch {
		case err != nil:
			return nil, err
		case l.IsRequest() && l.Verb == "BYE":
			return nil, byeError(l)
		case l.IsRequest() || l.Tag != tag || l.Status.Interim() && l.Status != protocol.StatusChallenge:
			continue
		case l.Status.OK() || l.Status == protocol.StatusChallenge:
			return l, nil
		}
		return nil, refusal(l)
	}
	return nil, protocolError("it says too much that nobody asked for")
}

// maxUnsolicitedBefore limits the unexpected lines before AUTH has ended.
const maxUnsolicitedBefore = 32

// byeError converts a BYE to an error.
func byeError(l *protocol.Line) error {
	status := protocol.Status(intParam(l, "status"))
	if status == 0 {
		status = protocol.StatusServerError
	}
	return &protocol.Error{Status: status, Text: "the server closed the connection: " + sanitizeText(l.Text), Retry: intParam(l, "retry")}
}

// isLoopback reports whether the connection stays on this machine.
// Connections that are not TCP do.
func (o *handshakeConn) isLoopback() bool {
	a, isTCP := o.RemoteAddr().(*net.TCPAddr)
	return !isTCP || a.IP.IsLoopback()
}
