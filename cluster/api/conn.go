package api

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"simpd/protocol/budget"
	"simpd/protocol/fairslots"
	"simpd/protocol/netaddr"
	"simpd/protocol/rate"
	"simpd/protocol/tlsrecord"
	"simpd/protocol/wait"
)

// What things cost, in octets, besides what their messages hold.
const (
	connCost  = 64 << 10 // buffers, TLS, and three goroutines
	callCost  = 12 << 10 // a goroutine, a stream, contexts
	fieldCost = 64       // a field of a call's header, besides its text
	frameCost = 96       // a DATA frame that waits to be read

	messageCost   = 1 << 10 // a message, besides its octets
	messageFactor = 2       // what a message takes, in its octets on the wire

	readBuffer   = 16 << 10
	writeTimeout = 30 * time.Second // for what is written to be taken by the network
)

// anonymousOctets is the rate at which an anonymous connection is read, in octets a
// second, and how much at once: the header of a call fits well into that.
var anonymousOctets = rate.NewLimit(16<<10, 64<<10)

// connections are the connections of a Server, and who pays for them.
type connections struct {
	admission *admission
	programs  *budget.Owners[string]       // by caller.key
	sources   *budget.Owners[netip.Prefix] // of anonymous connections
	pools     [2]*budget.Pool              // of both
	turns     *fairslots.Slots             // of TLS handshakes that compute
	opening   context.Context              // of connections until their first frame; ends with Shutdown
	stop      context.CancelFunc
}

// newConnections shares memory octets out to known callers, and a quarter of
// that to the sources of anonymous connections.
func newConnections(memory int64) *connections {
	known, anonymous := budget.NewPool(memory), budget.NewPool(memory/4)
	s := &connections{
		turns:     fairslots.New(),
		admission: newAdmission(),
		programs:  budget.NewOwners[string](known),
		sources:   budget.NewOwners[netip.Prefix](anonymous),
		pools:     [2]*budget.Pool{known, anonymous},
	}
	s.opening, s.stop = context.WithCancel(context.Background())
	return s
}

// heldOctets returns how many octets all callers hold.
func (s *connections) heldOctets() int64 { return s.pools[0].Held() + s.pools[1].Held() }

// open returns a conn for a connection that was accepted, or nil if it may not
// stay.
func (s *connections) open(raw net.Conn) *conn {
	c := &conn{server: s, raw: raw, source: sourceOf(raw.RemoteAddr()), calls: map[uint32]*call{}, begun: time.Now()}
	c.open, c.close = context.WithCancel(context.Background())
	c.payer = s.sources.Acquire(c.source)
	c.drop = func() { s.sources.Drop(c.source) }
	if !c.payer.Reserve(connCost) {
		c.drop()
		return nil
	}
	end := func() { _ = raw.Close(); c.releaseAll() }
	c.mu.Lock() // the server may be stopping already
	c.idle, c.opened = time.AfterFunc(firstCallTimeout, end), context.AfterFunc(s.opening, end)
	c.staying = context.AfterFunc(s.opening, func() { c.closeWithoutCalls(end) })
	c.mu.Unlock()
	if !s.admission.add(c) {
		c.releaseAll()
		return nil
	}
	return c
}

// conn is a connection, and the calls on it.
type conn struct {
	server *connections
	raw    net.Conn
	source netip.Prefix
	place  place // under admission.mu
	begun  time.Time
	open   context.Context // ends with the connection
	close  context.CancelFunc
	opened func() bool // called once the first frame has come; before that, Shutdown ends the connection
	// staying ends what Shutdown would do about a connection without calls.
	staying func() bool

	lastHeaders uint32 // the stream that the reader has read headers of last; the reader's alone

	mu       sync.Mutex
	payer    *budget.Owner // of the connection itself
	drop     func()        // gives the payer back
	caller   string        // key of the caller that pays; "": a source does
	calls    map[uint32]*call
	refusals int
	idle     *time.Timer // closes an anonymous connection
	atEnd    func()      // nil: nothing
	ended    bool
}

// releaseAll settles what the connection holds, once it is closed.
func (c *conn) releaseAll() {
	c.server.admission.remove(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	c.close()
	c.opened()
	c.staying()
	c.idle.Stop()
	for id := range c.calls {
		c.endStreamLocked(id)
	}
	c.payer.Release(connCost)
	c.drop()
	if c.atEnd != nil {
		c.atEnd()
	}
}

// closeWithoutCalls closes the connection, once Shutdown has begun, as soon as
// it has been given goodbyeTime and has no call. gRPC itself waits for six
// seconds for a program that does not answer its GOAWAY.
func (c *conn) closeWithoutCalls(end func()) {
	for wait.Sleep(c.open, goodbyeTime) {
		if !c.hasCalls() {
			end()
			return
		}
	}
}

// goodbyeTime is the time that a program has to answer the GOAWAY of Shutdown.
const goodbyeTime = time.Second

func (c *conn) hasCalls() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls) > 0
}

// onEnd has f called when the connection ends, or now if it has ended. It is
// called once for a connection.
func (c *conn) onEnd(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		f()
		return
	}
	c.atEnd = f
}

// setPayer has the caller pay for the connection, if none does yet and its
// share allows it.
func (c *conn) setPayer(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended || c.caller != "" {
		return !c.ended
	}
	payer := c.server.programs.Acquire(key)
	if !payer.Reserve(connCost) {
		c.server.programs.Drop(key)
		return false
	}
	c.payer.Release(connCost)
	c.drop()
	c.payer, c.drop, c.caller = payer, func() { c.server.programs.Drop(key) }, key
	c.idle.Stop()
	c.server.admission.markIdentified(c)
	return true
}

// isAnonymous reports whether nobody who is known pays for the connection.
func (c *conn) isAnonymous() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.caller == ""
}

// countRefusal counts a refused call, and closes an anonymous connection that makes
// too many.
func (c *conn) countRefusal() {
	c.mu.Lock()
	c.refusals++
	end := c.caller == "" && c.refusals >= maxRefusals
	c.mu.Unlock()
	if end {
		_ = rawConn{c.raw, c}.Close()
	}
}

// handshaker is the transport credentials: TLS, or nothing on loopback, and
// above it the metering of what is read and written.
type handshaker struct {
	credentials.TransportCredentials
	identify func(*conn, credentials.AuthInfo)
}

// connInfo is the AuthInfo of a connection: TLS's own, if there is one, and the
// connection.
type connInfo struct {
	credentials.AuthInfo
	conn *conn
}

func (h handshaker) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	r, ok := raw.(rawConn)
	if !ok {
		return nil, nil, errors.New("the connection was not admitted")
	}
	secured, info, err := h.handshakeTLS(r)
	if err != nil {
		return nil, nil, err
	}
	h.identify(r.c, info)
	m := &meteredConn{Conn: secured, c: r.c, reader: bufio.NewReaderSize(secured, readBuffer)}
	m.in.skip = prefaceSize
	return m, connInfo{info, r.c}, nil
}

// handshakeTLS does the handshake of TLS, if that is on, in the turn of the
// connection's network, and bounds the records that carry nothing.
func (h handshaker) handshakeTLS(raw rawConn) (net.Conn, credentials.AuthInfo, error) {
	if h.Info().SecurityProtocol != "tls" {
		return h.TransportCredentials.ServerHandshake(raw)
	}
	ctx, cancel := context.WithTimeout(raw.c.open, connectTimeout)
	defer cancel()
	turns := fairslots.NewConn(raw)
	turns.Begin(raw.c.server.turns.NewTurn(ctx, netaddr.Network(raw.c.source.Addr())))
	below := tlsrecord.NewBelow(turns)
	secured, info, err := h.TransportCredentials.ServerHandshake(below)
	turns.Finish()
	if err != nil {
		return nil, nil, err
	}
	return below.Above(secured), info, nil
}

func (h handshaker) Clone() credentials.TransportCredentials {
	return handshaker{h.TransportCredentials.Clone(), h.identify}
}

// meteredConn is a connection above TLS. gRPC reads it frame by frame, so that
// whoever is called with a call's header finds its stream in c.lastHeaders.
type meteredConn struct {
	net.Conn
	c      *conn
	reader *bufio.Reader

	in     frames // the reader's
	out    frames // the writer's
	bucket rate.Bucket
}

func (m *meteredConn) Read(p []byte) (int, error) {
	n, err := m.reader.Read(p)
	if n > 0 {
		m.in.parse(p[:n], m.c.frameIn, m.c.dataIn)
		if m.in.hasFirst() { // gRPC knows the connection from then on
			m.c.opened()
		}
		m.slowDown(n)
	}
	return n, err
}

// slowDown waits while an anonymous connection sends faster than it may.
func (m *meteredConn) slowDown(n int) {
	if !m.c.isAnonymous() {
		return
	}
	now := time.Since(m.c.begun)
	delay := m.bucket.Wait(anonymousOctets, n, now)
	m.bucket.Spend(anonymousOctets, n, now)
	if delay > 0 {
		wait.Sleep(m.c.open, delay)
	}
}

func (m *meteredConn) Write(p []byte) (int, error) {
	if err := m.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := m.Conn.Write(p)
	m.out.parse(p[:n], m.c.frameOut, nil)
	return n, err
}

// frameIn counts a frame of the caller's.
func (c *conn) frameIn(f frame) {
	switch f.kind {
	case frameHeaders:
		c.lastHeaders = f.stream
	case frameData:
		c.countReceived(f.stream, f.length)
	case frameReset:
		c.mu.Lock()
		defer c.mu.Unlock()
		c.endStreamLocked(f.stream)
	}
}

// dataIn looks at what has arrived of a call's body: a message that is too large
// ends the call, before gRPC would say so without a reason.
func (c *conn) dataIn(stream uint32, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.calls[stream]; r != nil && r.messages.countMessages(b, maxReceive) {
		r.endLocked(errTooLarge)
	}
}

// frameOut counts a frame to the caller.
func (c *conn) frameOut(f frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.calls[f.stream]; r != nil && f.kind == frameData {
		r.takenLocked(f.length)
	}
	if f.endsStream() {
		c.endStreamLocked(f.stream)
	}
}
