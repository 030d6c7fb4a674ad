package relay

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
)

// Server hands frames from connection to connection.
type Server struct {
	mu       sync.RWMutex
	users    map[string]*conn
	watchers map[string][]*conn
}

// New returns a relay without connections.
func New() *Server {
	return &Server{users: make(map[string]*conn), watchers: make(map[string][]*conn)}
}

// Serve accepts connections until l is closed, and returns once the last of
// them has ended; it ends none itself.
func (s *Server) Serve(l net.Listener) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		running.Go(func() { s.serve(&conn{Conn: c}) })
	}
}

// conn is a connection; its lock is held while a frame is written.
type conn struct {
	net.Conn
	mu   sync.Mutex
	name string
}

func (c *conn) write(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A receiver that is gone takes nothing; its own reader finds out.
	_, _ = c.Conn.Write(frame)
}

func (s *Server) serve(c *conn) {
	defer s.forget(c)
	defer c.Close()
	r := bufio.NewReader(c)
	var frame []byte
	for {
		var err error
		if frame, err = readFrame(r, frame); err != nil {
			return
		}
		f, err := parse(frame[lengthSize:])
		if err != nil {
			return
		}
		s.handle(c, f, frame)
	}
}

// readFrame reads a frame with its length into buf, which grows as it must.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	head, err := r.Peek(lengthSize)
	if err != nil {
		return buf, err
	}
	n := int(binary.BigEndian.Uint32(head))
	if n < headSize || n > MaxFrame {
		return buf, ErrFrame
	}
	buf = slices.Grow(buf[:0], lengthSize+n)[:lengthSize+n]
	_, err = io.ReadFull(r, buf)
	return buf, err
}

// handle does what a frame of c asks for; whole is f as it was read.
func (s *Server) handle(c *conn, f Frame, whole []byte) {
	switch f.Kind {
	case Login:
		s.login(c, string(f.Name))
	case Watch:
		s.watch(c, string(f.Name))
	case Publish:
		s.publish(c, f, whole)
	default:
		s.forward(c, f, whole)
	}
}

func (s *Server) login(c *conn, name string) {
	s.mu.Lock()
	c.name = name
	s.users[name] = c
	s.mu.Unlock()
	c.write(Append(nil, Login, ""))
}

func (s *Server) watch(c *conn, name string) {
	s.mu.Lock()
	// Made anew, so that publish may go through the old one without the lock.
	s.watchers[name] = append(slices.Clip(s.watchers[name]), c)
	s.mu.Unlock()
	c.write(Append(nil, Watch, ""))
}

func (s *Server) publish(c *conn, f Frame, whole []byte) {
	s.mu.RLock()
	all := s.watchers[string(f.Name)]
	s.mu.RUnlock()
	for _, w := range all {
		w.write(whole)
	}
	c.write(Append(nil, Publish, ""))
}

func (s *Server) forward(c *conn, f Frame, whole []byte) {
	s.mu.RLock()
	to := s.users[string(f.Name)]
	s.mu.RUnlock()
	if to == nil {
		c.write(Append(nil, Unknown, ""))
		return
	}
	to.write(whole)
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[c.name] == c {
		delete(s.users, c.name)
	}
	for name, all := range s.watchers {
		s.watchers[name] = without(all, c)
	}
}

// without returns all but c, leaving all as it is.
func without(all []*conn, c *conn) []*conn {
	i := slices.Index(all, c)
	if i < 0 {
		return all
	}
	return slices.Concat(all[:i], all[i+1:])
}
