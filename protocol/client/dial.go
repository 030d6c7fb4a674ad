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

// dialer opens connections as Config says.
type dialer struct {
	Config
	secret     *secret
	dialsNames bool            // Dial is given names, and looks them up itself
	running    *sync.WaitGroup // of goroutines that dial
}

var errUnsafe = errors.New("it is not safe")

// opening is a connection on its way to being authenticated.
type opening struct {
	wire
	target
	tls     *tls.ConnectionState // nil without TLS
	hello   hello
	tag     int
	strange int // lines before AUTH that nobody asked for
}

// hello is what a server says of itself.
type hello struct {
	history string
	auth    []string
	idle    time.Duration
	size    int
}

// dial connects to one of the places where the home server is, logs in, and
// returns the connection.
func (d *dialer) dial(ctx context.Context) (*opening, error) {
	targets, err := d.targets(ctx)
	if err != nil {
		return nil, err
	}
	return d.dialAny(ctx, targets)
}

// dialAny returns the first connection that comes about, logged in.
func (d *dialer) dialAny(ctx context.Context, targets []target) (*opening, error) {
	c := &connector{resolver: d.Resolver, dial: d.Dial, byName: d.dialsNames, patience: connectTimeout, running: d.running}
	c.private = d.AllowPrivate || len(targets) > 0 && !targets[0].found
	return c.connectAny(ctx, targets, func(conn net.Conn, t target) (*opening, error) { return d.open(ctx, t, conn) }, isFinal)
}

func (d *dialer) targets(ctx context.Context) ([]target, error) {
	if d.Server != "" {
		t, err := named(d.Server, d.Security)
		return []target{t}, err
	}
	targets, err := discover(ctx, d.Resolver, d.User.Domain())
	for i := range targets {
		if d.Security != ByPort {
			targets[i].security = d.Security
		}
	}
	return targets, err
}

// open logs in over a connection.
func (d *dialer) open(ctx context.Context, t target, conn net.Conn) (*opening, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	o := &opening{wire: wire{Conn: conn}, target: t}
	if err := o.within(ctx, func() error { return d.converse(ctx, o) }); err != nil {
		return nil, fmt.Errorf("logging in at %s: %w", t, err)
	}
	return o, nil
}

// begin begins TLS where it comes first.
func (d *dialer) begin(ctx context.Context, o *opening) error {
	switch {
	case o.security == TLS:
		return o.startTLS(ctx, d.tlsConfig())
	case o.security == Plaintext && !o.isLoopback():
		return fmt.Errorf("%w to speak in clear to another machine", errUnsafe)
	}
	return nil
}

// converse says all that comes before the first request of the user's.
func (d *dialer) converse(ctx context.Context, o *opening) error {
	if err := d.begin(ctx, o); err != nil {
		return err
	}
	if err := o.greeting(); err != nil {
		return err
	}
	if o.security == StartTLS {
		if err := o.upgrade(ctx, d.tlsConfig()); err != nil {
			return err
		}
	}
	if err := o.sayHello(d.Agent); err != nil {
		return err
	}
	return d.login(o)
}

// upgrade begins TLS in a connection that began in clear. What came in clear
// behind the answer was put there by somebody else.
func (o *opening) upgrade(ctx context.Context, c *tls.Config) error {
	_, err := o.ask("STARTTLS", nil)
	var refused *protocol.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %s", ErrNoTLS, refused.Text)
	}
	if err != nil {
		return err
	}
	if len(o.rest) > 0 {
		return protocolError("something was said in clear after STARTTLS")
	}
	return o.startTLS(ctx, c)
}

func (o *opening) startTLS(ctx context.Context, c *tls.Config) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	below := tlsrecord.NewBelow(o.Conn)
	conn := tls.Client(below, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		return handshakeError(err)
	}
	state := conn.ConnectionState()
	if n := chainOctets(&state); n > maxChain {
		return protocolError("its certificates have %d octets; at most %d are taken", n, maxChain)
	}
	o.Conn, o.tls, o.mem, o.rest = below.Above(conn), &state, nil, nil
	return nil
}

// maxChain bounds what the other side's certificates have in octets, as they are
// kept with the connection.
const maxChain = 32 << 10

// chainOctets returns how large the other side's certificates are.
func chainOctets(s *tls.ConnectionState) (n int) {
	for _, c := range s.PeerCertificates {
		n += len(c.Raw)
	}
	return n
}

// tlsConfig has the certificate checked for the domain of the user's address,
// whatever name led to the server.
func (d *dialer) tlsConfig() *tls.Config {
	c := d.TLS.Clone()
	if c == nil {
		c = new(tls.Config)
	}
	return secured(c, certName(d.User))
}

// secured has c accept a certificate that is valid for name, and nothing less
// than TLS 1.2 and SIMP. It changes and returns c.
func secured(c *tls.Config, name string) *tls.Config {
	c.ServerName = name
	c.InsecureSkipVerify = false
	c.NextProtos = []string{"simp"}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	c.CipherSuites = forwardSecret()
	return c
}

// forwardSecret are the suites of TLS 1.2 that keep what was said secret when
// the key is lost, and can't be tampered with; TLS 1.3 has no others.
func forwardSecret() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}

// certName is the domain, or what an address literal has in its brackets.
func certName(a protocol.Address) string {
	name := strings.TrimSuffix(strings.TrimPrefix(a.Domain(), "["), "]")
	return strings.TrimPrefix(name, "IPv6:")
}

func (o *opening) sayHello(agent string) error {
	l, err := o.ask("HELLO", func(b []byte) []byte {
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
	o.hello = hello{
		history: strings.Clone(cut(textParam(l, "history"), protocol.MaxNote)),
		auth:    strings.Split(strings.Clone(cut(textParam(l, "auth"), protocol.MaxNote)), ","),
		idle:    time.Duration(max(intParam(l, "idle"), 10)) * time.Second,
		size:    intParam(l, "size"),
	}
	return nil
}

// ask sends a request and returns its final response, which is a 2xx. An error
// is a *protocol.Error if the server refused.
func (o *opening) ask(verb string, params func([]byte) []byte) (*protocol.Line, error) {
	o.tag++
	l, err := o.exchange(fmt.Sprint("o", o.tag), verb, params)
	if err == nil && l.Status == protocol.StatusChallenge {
		return nil, protocolError("it answers %s with a challenge", verb)
	}
	return l, err
}

// conclude sends a request under a tag, and returns its final response, which
// is a 200: anything else proves nothing.
func (o *opening) conclude(tag, verb string, params func([]byte) []byte) (*protocol.Line, error) {
	l, err := o.exchange(tag, verb, params)
	if err == nil && l.Status != protocol.StatusOK {
		return nil, protocolError("it answers %s with %d", verb, int(l.Status))
	}
	return l, err
}

// exchange sends a request under a tag and returns the response: a 2xx, or a
// challenge, which only AUTH and MORE expect.
func (o *opening) exchange(tag, verb string, params func([]byte) []byte) (*protocol.Line, error) {
	b := protocol.AppendRequest(nil, tag, verb)
	if params != nil {
		b = params(b)
	}
	if _, err := o.Conn.Write(protocol.AppendEnd(b)); err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	l, err := o.await(tag)
	var refused *protocol.Error
	if err != nil && !errors.As(err, &refused) {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	return l, err
}

// await returns the response to tag. Before AUTH the server has nothing to say
// unasked but BYE, and PING; a few other lines are ignored.
func (o *opening) await(tag string) (*protocol.Line, error) {
	for ; o.strange <= maxStrangeBefore; o.strange++ {
		l, _, err := o.next(0)
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

// maxStrangeBefore is how many lines that nobody asked for are ignored before
// the end of AUTH.
const maxStrangeBefore = 32

// byeError makes the error of a BYE.
func byeError(l *protocol.Line) error {
	status := protocol.Status(intParam(l, "status"))
	if status == 0 {
		status = protocol.StatusServerError
	}
	return &protocol.Error{Status: status, Text: "the server closed the connection: " + short(l.Text), Retry: intParam(l, "retry")}
}

// isLoopback reports whether the connection stays on this machine, as one does
// that is not TCP at all.
func (o *opening) isLoopback() bool {
	a, isTCP := o.RemoteAddr().(*net.TCPAddr)
	return !isTCP || a.IP.IsLoopback()
}
