// Package wire speaks SIMP by hand, so that nothing stands between a
// laboratory and what a server writes.
package wire

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"simpd/protocol"
)

// ErrGone says that the connection has ended.
var ErrGone = errors.New("the connection has ended")

const (
	// DialTimeout bounds the connecting of TCP, and TLS's handshake.
	DialTimeout = 5 * time.Second
	// AnswerTime limits how long a server takes to answer requests other than SEND.
	AnswerTime = 10 * time.Second

	answerTimeout = 15 * time.Second
)

// Config configures a connection. Address is required.
type Config struct {
	Address      string       // host and port
	Local        net.Addr     // the address to connect from; nil: any
	TLS          *tls.Config  // nil: in clear
	Clock        Clock        // of all times that the connection tells
	Number, Node int          // kept for the caller
	OnEnd        func(Ending) // called once the connection has ended; see Follow
	OnSlow       func(Slow)   // called with each request that Ask got answered too late
	// OnRequest is called by the connection's reader with each request and
	// notification of the server's but PING, MOVE and BYE. It may block: then
	// nothing is read.
	OnRequest func(l *protocol.Line, entity []byte, at time.Duration)
}

// Conn is a connection. Its methods may be called from any goroutine.
type Conn struct {
	net.Conn
	Config
	Gone  chan struct{} // closed when the connection has ended
	Moved chan struct{} // closed when the server has said MOVE

	mu      sync.Mutex
	follows bool
	next    int
	waiting map[string]*pending
	ended   bool
	own     bool   // it was closed here
	bye     string // what the server said last
	why     string // reading ended
}

// pending is a request that waits for its final response.
type pending struct {
	lines []protocol.Line
	done  func(lines []protocol.Line, at time.Duration)
}

// Ending is the end of a connection that was followed.
type Ending struct {
	Conn, Node int
	At         time.Duration
	Own        bool   // it was closed here
	Moved      bool   // the server had said MOVE
	Bye        string // what the server said last
	Why        string // reading ended
}

// Slow is a request other than SEND that was answered too late, or not before
// the connection ended.
type Slow struct {
	Request    string
	Node       int
	Call, Back time.Duration
}

// Dial opens a connection and begins to read.
func Dial(config Config) (*Conn, error) {
	raw, err := (&net.Dialer{Timeout: DialTimeout, LocalAddr: config.Local}).Dial("tcp", config.Address)
	if err != nil {
		return nil, err
	}
	if config.TLS != nil {
		secured := tls.Client(raw, config.TLS)
		_ = raw.SetDeadline(time.Now().Add(DialTimeout))
		if err := secured.Handshake(); err != nil {
			raw.Close()
			return nil, err
		}
		_ = raw.SetDeadline(time.Time{})
		raw = secured
	}
	c := &Conn{Conn: raw, Config: config, Gone: make(chan struct{}), Moved: make(chan struct{}), waiting: map[string]*pending{}}
	go c.read()
	return c, nil
}

// Login opens a connection, logs the user in and follows the connection.
func Login(config Config, agent, address, password string) (*Conn, error) {
	c, err := Dial(config)
	if err != nil {
		return nil, err
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + address + "\x00" + password))
	for _, request := range []string{fmt.Sprintf("HELLO version=SIMP/1.0 agent=%q", agent), "AUTH mech=PLAIN data=" + plain} {
		if _, err := c.Ask(request, nil); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: %w%s", request[:5], err, lastWord(c.bye))
		}
	}
	return c, c.Follow()
}

// lastWord returns the last line of the server, as an error.
func lastWord(bye string) string {
	if bye == "" {
		return ""
	}
	return " (BYE " + bye + ")"
}

// Follow has OnEnd and OnSlow told what becomes of the connection from now
// on; ErrGone says that it has ended already.
func (c *Conn) Follow() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return ErrGone
	}
	c.follows = true
	return nil
}

// Close ends the connection and waits for its reader.
func (c *Conn) Close() {
	c.HangUp()
	<-c.Gone
}

// HangUp ends the connection; its reader finds that out.
func (c *Conn) HangUp() {
	c.mu.Lock()
	c.own = true
	c.mu.Unlock()
	_ = c.Conn.Close()
}

// IsOver reports whether the connection has ended.
func (c *Conn) IsOver() bool { return closed(c.Gone) }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Request makes a request. done is called once, by the reader, with its 100
// lines and its final response; without lines if the connection ended before.
// It is not called if Request returns false: then the connection had ended
// before, and nothing was said.
func (c *Conn) Request(request string, entity []byte, done func([]protocol.Line, time.Duration)) bool {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return false
	}
	c.next++
	tag := fmt.Sprintf("%x", c.next)
	c.waiting[tag] = &pending{done: done}
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

// Answer is a final response with the 100 lines before it.
type Answer struct {
	Lines      []protocol.Line // the final response is the last; none: lost
	Call, Back time.Duration
}

// Final returns the final response.
func (a *Answer) Final() *protocol.Line { return &a.Lines[len(a.Lines)-1] }

// Ask makes a request and waits for its answer. The error is ErrGone, or a
// *protocol.Error for an answer that is not 2xx.
func (c *Conn) Ask(request string, entity []byte) (Answer, error) {
	a := Answer{Call: c.Clock.Now()}
	got := make(chan Answer, 1)
	if !c.Request(request, entity, func(lines []protocol.Line, at time.Duration) { got <- Answer{lines, a.Call, at} }) {
		a.Back = a.Call
		return a, ErrGone
	}
	limit := time.NewTimer(answerTimeout)
	defer limit.Stop()
	select {
	case a = <-got:
	case <-limit.C:
		c.HangUp()
		a = <-got
	}
	if a.Back-a.Call > AnswerTime && c.reports() && c.OnSlow != nil {
		c.OnSlow(Slow{request, c.Node, a.Call, a.Back})
	}
	if len(a.Lines) == 0 {
		return a, ErrGone
	}
	if f := a.Final(); !f.Status.OK() {
		return a, protocol.Errorf(f.Status, "%s", f.Text)
	}
	return a, nil
}

func (c *Conn) reports() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.follows
}

// Say answers a request of the server's.
func (c *Conn) Say(tag, answer string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = io.WriteString(c.Conn, tag+" "+answer+"\r\n")
}
