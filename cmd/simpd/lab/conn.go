package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"simpd/protocol"
)

var errGone = errors.New("the connection has ended")

const (
	dialPatience   = 5 * time.Second
	answerTime     = 10 * time.Second // within which requests other than SEND are answered
	answerPatience = 15 * time.Second
)

// conn is a connection that speaks SIMP by hand, so that nothing stands
// between the laboratory and the wire. Its methods may be called from any
// goroutine.
type conn struct {
	net.Conn
	number int // of all the laboratory's connections
	node   int
	clock  clock
	// parted is called once the connection has ended, and tardy with each
	// request that was answered too late; both once it is logged in.
	parted func(ending)
	tardy  func(slow)
	// heard is called by the connection's reader with each request and
	// notification of the server's. It may block: then nothing is read.
	heard func(l *protocol.Line, entity []byte, at time.Duration)
	gone  chan struct{} // closed when the connection has ended
	moved chan struct{} // closed when the server has said MOVE

	mu      sync.Mutex
	next    int
	waiting map[string]*asked
	ended   bool
	own     bool   // it was closed here
	bye     string // what the server said last
	why     string // reading ended
}

// asked is a request that waits for its final response.
type asked struct {
	lines []protocol.Line
	done  func(lines []protocol.Line, at time.Duration)
}

// dial opens a connection and logs the user in.
func (l *lab) dial(node int, user string, heard func(*protocol.Line, []byte, time.Duration)) (*conn, error) {
	c, err := l.open(node)
	if err != nil {
		return nil, err
	}
	c.heard = heard
	go c.read()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + l.address(user) + "\x00" + l.site.Password))
	for _, request := range []string{`HELLO version=SIMP/1.0 agent="lab"`, "AUTH mech=PLAIN data=" + plain} {
		if _, err := c.ask(request, nil); err != nil {
			c.close()
			return nil, fmt.Errorf("%s: %w", request[:5], err)
		}
	}
	return c, c.follow(l.history)
}

// follow has told what becomes of the connection; errGone says that it has
// ended already.
func (c *conn) follow(h *history) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return errGone
	}
	c.parted, c.tardy = h.part, h.tardy
	return nil
}

// open opens a connection, and says nothing.
func (l *lab) open(node int) (*conn, error) {
	n := l.site.Nodes[node-1]
	at, dialer := n.SIMPS, &net.Dialer{Timeout: dialPatience}
	if l.site.Insecure {
		at = n.SIMP
	}
	raw, err := dialer.Dial("tcp", at)
	if err != nil {
		return nil, err
	}
	if !l.site.Insecure {
		secured := tls.Client(raw, l.trust)
		_ = raw.SetDeadline(time.Now().Add(dialPatience))
		if err := secured.Handshake(); err != nil {
			raw.Close()
			return nil, err
		}
		_ = raw.SetDeadline(time.Time{})
		raw = secured
	}
	return &conn{Conn: raw, number: int(l.conns.Add(1)), node: node, clock: l.clock, gone: make(chan struct{}), moved: make(chan struct{}), waiting: map[string]*asked{}}, nil
}

// close ends the connection and waits for its reader.
func (c *conn) close() {
	c.hangUp()
	<-c.gone
}

// hangUp ends the connection; its reader finds that out.
func (c *conn) hangUp() {
	c.mu.Lock()
	c.own = true
	c.mu.Unlock()
	_ = c.Conn.Close()
}

// over tells whether the connection has ended.
func (c *conn) over() bool { return closed(c.gone) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// request makes a request. done is called once, by the reader, with its 100
// lines and its final response; without lines if the connection ended before.
// It is not called if request returns false: then the connection had ended
// before, and nothing was said.
func (c *conn) request(request string, entity []byte, done func([]protocol.Line, time.Duration)) bool {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return false
	}
	c.next++
	tag := fmt.Sprintf("%x", c.next)
	c.waiting[tag] = &asked{done: done}
	octets := tag + " " + request + "\r\n"
	if entity != nil {
		octets = fmt.Sprintf("%s %s {%d}\r\n%s", tag, request, len(entity), entity)
	}
	_, err := io.WriteString(c.Conn, octets) // under the lock: the order is that of the tags
	c.mu.Unlock()
	if err != nil {
		_ = c.Conn.Close() // the reader finds the end and tells done
	}
	return true
}

// answer is a final response with the 100 lines before it.
type answer struct {
	lines      []protocol.Line // the final response is the last; none: lost
	call, back time.Duration
}

func (a *answer) final() *protocol.Line { return &a.lines[len(a.lines)-1] }

// ask makes a request and waits for its answer. The error is errGone, or a
// *protocol.Error for an answer that is not 2xx.
func (c *conn) ask(request string, entity []byte) (answer, error) {
	a := answer{call: c.clock.now()}
	got := make(chan answer, 1)
	if !c.request(request, entity, func(lines []protocol.Line, at time.Duration) { got <- answer{lines, a.call, at} }) {
		a.back = a.call
		return a, errGone
	}
	select {
	case a = <-got:
	case <-time.After(answerPatience):
		c.hangUp()
		a = <-got
	}
	if a.back-a.call > answerTime && c.tardy != nil {
		c.tardy(slow{request, c.node, a.call, a.back})
	}
	if len(a.lines) == 0 {
		return a, errGone
	}
	if f := a.final(); !f.Status.OK() {
		return a, protocol.Errorf(f.Status, "%s", f.Text)
	}
	return a, nil
}

// say answers a request of the server's.
func (c *conn) say(tag, answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.Conn, tag+" "+answer+"\r\n")
}

func (c *conn) read() {
	defer close(c.gone)
	defer c.end()
	in := bufio.NewReaderSize(c.Conn, protocol.MaxLine)
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			c.why = err.Error()
			return
		}
		l := new(protocol.Line)
		if protocol.ParseLine(strings.TrimSuffix(text, "\r\n"), l) != nil {
			return
		}
		entity := make([]byte, max(0, l.Literal))
		if _, err := io.ReadFull(in, entity); err != nil {
			return
		}
		c.take(l, entity)
	}
}

func (c *conn) take(l *protocol.Line, entity []byte) {
	switch {
	case !l.IsRequest():
		c.answered(l)
	case l.Verb == "PING":
		c.say(l.Tag, "200")
	case l.Verb == "MOVE":
		close(c.moved) // it comes once
	case l.Verb == "BYE":
		status, _ := l.Get("status")
		c.bye = status + " " + l.Text
	case c.heard != nil:
		c.heard(l, entity, c.clock.now())
	}
}

func (c *conn) answered(l *protocol.Line) {
	c.mu.Lock()
	a := c.waiting[l.Tag]
	if a == nil {
		c.mu.Unlock()
		return
	}
	a.lines = append(a.lines, *l)
	if !l.Status.Interim() {
		delete(c.waiting, l.Tag)
	}
	c.mu.Unlock()
	if !l.Status.Interim() {
		a.done(a.lines, c.clock.now())
	}
}

// end tells who waits that nothing comes any more.
func (c *conn) end() {
	_ = c.Conn.Close()
	c.mu.Lock()
	waiting, parted := c.waiting, c.parted
	c.waiting, c.ended = nil, true
	e := ending{Conn: c.number, Node: c.node, At: c.clock.now(), Own: c.own, Moved: closed(c.moved), Bye: c.bye, Why: c.why}
	c.mu.Unlock()
	if parted != nil {
		parted(e)
	}
	for _, a := range waiting {
		a.done(nil, e.At)
	}
}

// clock counts from the start of a run, by the monotonic clock.
type clock struct{ begun time.Time }

func (c clock) now() time.Duration { return time.Since(c.begun) }
