package tlsrecord

import "net"

// Below is the connection that TLS runs on. Above limits what comes on it.
type Below struct {
	net.Conn
	counter Counter
}

// NewBelow returns c as TLS is to run on it.
func NewBelow(c net.Conn) *Below { return &Below{Conn: c} }

// Read reads records, unless too many carried nothing.
func (b *Below) Read(p []byte) (int, error) {
	if err := b.counter.Check(); err != nil {
		return 0, err
	}
	n, err := b.Conn.Read(p)
	b.counter.Took(p[:n])
	return n, err
}

// Above returns secured, which is TLS on b and whose handshake is over, as it
// is to be read from now on.
func (b *Below) Above(secured net.Conn) net.Conn {
	b.counter.Begin()
	return &above{secured, &b.counter}
}

type above struct {
	net.Conn
	counter *Counter
}

func (a *above) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if n > 0 {
		a.counter.Returned()
	}
	return n, err
}

// CloseWrite ends the sending side.
func (b *Below) CloseWrite() error { return closeWrite(b.Conn) }

// CloseWrite ends the sending side.
func (a *above) CloseWrite() error { return closeWrite(a.Conn) }

func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
