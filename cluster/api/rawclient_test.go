package api_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// rawClient speaks HTTP/2 frame by frame, as no gRPC library would.
type rawClient struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	next   uint32
	mute   bool // does not answer PING

	writing sync.Mutex
	header  bytes.Buffer
	encode  *hpack.Encoder

	mu     sync.Mutex
	ended  map[uint32]codes.Code // calls that were answered
	errors map[uint32]error      // with their details
	news   chan struct{}         // something has come
	closed chan struct{}
}

func newRawClient(t *testing.T, conn net.Conn) *rawClient {
	t.Helper()
	return openRawClient(t, conn, false)
}

// newMuteClient returns one that answers nothing.
func newMuteClient(t *testing.T, conn net.Conn) *rawClient {
	t.Helper()
	return openRawClient(t, conn, true)
}

func openRawClient(t *testing.T, conn net.Conn, mute bool) *rawClient {
	t.Helper()
	c := &rawClient{
		t: t, mute: mute, conn: conn, framer: http2.NewFramer(conn, conn), next: 1,
		ended: map[uint32]codes.Code{}, errors: map[uint32]error{}, news: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	c.encode = hpack.NewEncoder(&c.header)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	go c.read()
	t.Cleanup(func() { conn.Close(); <-c.closed })
	return c
}

func (c *rawClient) read() {
	defer close(c.closed)
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		if ping, ok := f.(*http2.PingFrame); ok && !ping.IsAck() && !c.mute {
			c.write(func() error { return c.framer.WritePing(true, ping.Data) })
			continue
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok && h.StreamEnded() {
			c.mu.Lock()
			for _, field := range h.Fields {
				if field.Name == "grpc-status" {
					n, _ := strconv.Atoi(field.Value)
					c.ended[h.StreamID] = codes.Code(n)
				}
				if field.Name == "grpc-status-details-bin" {
					s := &spb.Status{}
					octets, _ := base64.RawStdEncoding.DecodeString(field.Value)
					_ = proto.Unmarshal(octets, s) // nonsense has no details
					c.errors[h.StreamID] = status.ErrorProto(s)
				}
			}
			c.mu.Unlock()
			select {
			case c.news <- struct{}{}:
			default:
			}
		}
	}
}

// call begins a call, whose body is still to come; ok is false once the server
// has closed the connection.
func (c *rawClient) call(method string, extra ...string) (id uint32, ok bool) {
	fields := append([]string{":method", "POST", ":scheme", "https", ":path", method, ":authority", "n1", "content-type", "application/grpc"}, extra...)
	c.header.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := c.encode.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			c.t.Fatal(err)
		}
	}
	id, c.next = c.next, c.next+2
	return id, c.write(func() error {
		return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.header.Bytes(), EndHeaders: true})
	})
}

// write writes a frame, and reports whether the connection is still open.
func (c *rawClient) write(frame func() error) bool {
	c.writing.Lock()
	defer c.writing.Unlock()
	return frame() == nil
}

// ask sends the empty message, and ends the request.
func (c *rawClient) ask(id uint32) bool {
	return c.write(func() error { return c.framer.WriteData(id, true, make([]byte, 5)) })
}

// message begins a message of n octets, of which it sends the zeroes given.
func (c *rawClient) message(id uint32, n, sent int) bool {
	prefix := binary.BigEndian.AppendUint32([]byte{0}, uint32(n))
	return c.data(id, prefix) && c.zeroes(id, sent)
}

func (c *rawClient) zeroes(id uint32, n int) bool {
	zeroes := make([]byte, 16<<10)
	for n > 0 {
		some := min(n, len(zeroes))
		if !c.data(id, zeroes[:some]) {
			return false
		}
		n -= some
	}
	return true
}

func (c *rawClient) data(id uint32, b []byte) bool {
	return c.write(func() error { return c.framer.WriteData(id, false, b) })
}

// wait returns the status of a call, or Unavailable if the connection was closed.
func (c *rawClient) wait(id uint32) codes.Code {
	c.t.Helper()
	limit := time.After(time.Hour) // of a synctest's time, or of the test's own
	for {
		c.mu.Lock()
		code, ok := c.ended[id]
		c.mu.Unlock()
		if ok {
			return code
		}
		select {
		case <-c.news:
		case <-c.closed:
			return codes.Unavailable
		case <-limit:
			c.t.Fatal("no answer")
		}
	}
}

// err returns the error that a call ended with, if it had details.
func (c *rawClient) err(id uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errors[id]
}

// rawTLS connects to s with the client certificate of that name, "" being none.
func (s *secured) rawTLS(t *testing.T, name string) *rawClient {
	t.Helper()
	c := s.tlsConfig(t, s.dir, name)
	c.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", s.addr, c)
	if err != nil {
		t.Fatal(err)
	}
	return newRawClient(t, conn)
}
