package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"simpd/protocol/transcript"
)

// webStage is a stage whose listener takes WebSockets in clear.
type webStage struct {
	*stage
	web *memListener
}

func playWeb(t *testing.T, set func(*Config), f func(*webStage)) {
	t.Helper()
	play(t, set, func(s *stage) {
		w := &webStage{s, newMemListener()}
		ended := make(chan error, 1)
		go func() { ended <- s.server.ServeWebSocket(w.web) }()
		f(w)
		time.Sleep(lingerTime) // in which net/http ends what it has refused
		_ = w.web.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			s.Error(err)
		}
	})
}

func (w *webStage) raw(source string) net.Conn {
	c := w.web.dial(roomy, netip.MustParseAddrPort(source))
	w.Cleanup(func() { _ = c.Close() })
	return c
}

const upgrade = "GET /simp HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Protocol: simp\r\n"

// answer sends a request and returns the status of what is answered.
func answer(t *testing.T, c net.Conn, request string) (int, *http.Response) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(c, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r
}

// over makes a WebSocket of a connection, with a header more.
func (w *webStage) over(c net.Conn, header http.Header) (*client, *http.Response, error) {
	dial := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	ws, r, err := websocket.Dial(context.Background(), "ws://example.com/simp", &websocket.DialOptions{
		Subprotocols: []string{"simp"}, HTTPHeader: header,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}},
	})
	if err != nil {
		return nil, r, err
	}
	conn := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
	return &client{w.T, conn, bufio.NewReader(conn)}, r, nil
}

// Nothing keeps a connection for longer than 30 s before it is a
// WebSocket: not silence, nor a head that comes in drops.
func TestWebSocketConnectionsEnd(t *testing.T) {
	playWeb(t, nil, func(w *webStage) {
		began := time.Now()
		silent, slow := w.raw("192.0.2.1:1"), w.raw("192.0.2.1:2")
		var typing sync.WaitGroup
		defer typing.Wait()
		typing.Go(func() {
			for _, b := range []byte(upgrade + "X-Slow: " + strings.Repeat("x", 200)) {
				if _, err := slow.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		for _, c := range []net.Conn{silent, slow} {
			_, _ = io.ReadAll(c)
			if took := time.Since(began); took > authTimeout {
				t.Errorf("a connection was held for %v", took)
			}
		}
		synctest.Wait()
		if open, _ := w.server.Sessions(); open != 0 {
			t.Errorf("%d connections are still counted", open)
		}
	})
}

// A request that is no upgrade is answered at once, its body is not waited
// for, and the connection ends with it.
func TestWebSocketListenerKeepsNoConnection(t *testing.T) {
	playWeb(t, nil, func(w *webStage) {
		const host = " HTTP/1.1\r\nHost: example.com\r\n"
		for request, status := range map[string]int{
			"GET /" + host + "\r\n":                                                        404,
			"GET /simp" + host + "\r\n":                                                    426,
			"POST /simp" + host + "Content-Length: 1000000\r\n\r\nx":                       405,
			"POST /" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n":               404,
			"OPTIONS *" + host + "Content-Length: 1000\r\n\r\n":                            404,
			"PUT /simp" + host + "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n":       405,
			upgrade + "Content-Length: 5\r\n\r\nhello":                                     400,
			upgrade + "Origin: https://evil.example\r\n\r\n":                               403,
			"nonsense\r\n\r\n":                                                             400,
			"GET /simp" + host + "X-Big: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n": 431,
			"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":                                             421,
		} {
			began, c := time.Now(), w.raw("192.0.2.1:1")
			got, r := answer(t, c, request)
			if got != status || !r.Close {
				t.Errorf("%.30q: %d, want %d; closed: %v", request, got, status, r.Close)
			}
			_, _ = io.ReadAll(c)
			if took := time.Since(began); took > lingerTime {
				t.Errorf("%.30q: the connection was held for %v", request, took)
			}
		}
	})
}

// The 30 s until AUTH begin with the connection, not with the WebSocket.
func TestWebSocketAuthenticatesInTime(t *testing.T) {
	playWeb(t, nil, func(w *webStage) {
		began, raw := time.Now(), w.raw("192.0.2.1:1")
		time.Sleep(10 * time.Second)
		c, _, err := w.over(raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.expect("* HELLO <rest>")
		c.expect("* BYE status=401 :not authenticated within 30s")
		if took := time.Since(began); took < authTimeout || took > authTimeout+time.Second {
			t.Errorf("it was closed after %v", took)
		}
	})
}

// Connections count by source from the first moment.
func TestWebSocketConnectionsAreCounted(t *testing.T) {
	playWeb(t, nil, func(w *webStage) {
		for i := range 50 {
			w.raw(fmt.Sprintf("[2a00:1:2:3::%x]:1", i+1))
		}
		synctest.Wait()
		if b, err := io.ReadAll(w.raw("[2a00:1:2:3:ffff::]:1")); err != nil || len(b) != 0 {
			t.Errorf("got %q, %v", b, err)
		}
		c, _, err := w.over(w.raw("[2a00:1:2:4::1]:1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		c.expect("* HELLO <rest>")
		_ = c.Close()
	})
}

// HTTP/2 is off, in TLS too.
func TestWebSocketListenerHasNoHTTP2(t *testing.T) {
	h := newHarbour(t, nil)
	address := h.serve(h.server.ServeWebSocket)
	for _, offered := range [][]string{{"h2", "http/1.1"}, {"http/1.1"}, nil, {"h2"}} {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: offered})
		if err != nil {
			if len(offered) != 1 || offered[0] != "h2" {
				t.Errorf("%v: %v", offered, err)
			}
			continue
		}
		if got := c.ConnectionState().NegotiatedProtocol; got == "h2" || len(offered) == 1 && offered[0] == "h2" {
			t.Errorf("%v: %q", offered, got)
		}
		_ = c.Close()
	}
}

// Section 10: a ping after 30 s of silence, and none while there is talk.
func TestWebSocketPings(t *testing.T) {
	playWeb(t, nil, func(w *webStage) {
		pings := make(chan time.Duration, 10)
		began := time.Now()
		raw := w.raw("192.0.2.1:1")
		ws, _, err := websocket.Dial(context.Background(), "ws://example.com/simp", &websocket.DialOptions{
			Subprotocols: []string{"simp"},
			HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
				DialContext: func(context.Context, string, string) (net.Conn, error) { return raw, nil }}},
			OnPingReceived: func(context.Context, []byte) bool { pings <- time.Since(began); return true },
		})
		if err != nil {
			t.Fatal(err)
		}
		conn := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
		c := &client{t, conn, bufio.NewReader(conn)}
		c.expect("* HELLO <rest>")
		time.Sleep(20 * time.Second)
		c.login("alice")
		read := make(chan string)
		go func() { read <- c.line() }() // and answers pings
		time.Sleep(100 * time.Second)
		c.send("1 PING")
		if line := <-read; line != "1 200" {
			t.Errorf("got %q", line)
		}
		_ = c.Close()
		for _, want := range []time.Duration{50, 80, 110} {
			if got := <-pings; got != want*time.Second {
				t.Errorf("a ping after %v, want %v", got, want*time.Second)
			}
		}
	})
}

func forwarding(c *Config) {
	c.ForwardedFrom = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
}

// A proxy's X-Forwarded-For is believed, from the right, up to what is no
// proxy; anybody else's is not.
func TestXForwardedFor(t *testing.T) {
	playWeb(t, forwarding, func(w *webStage) {
		for i, x := range []struct{ from, header, client string }{
			{"10.0.0.1:1", "198.51.100.7", "198.51.100.7"},
			{"10.0.0.1:1", "203.0.113.1, 198.51.100.7", "198.51.100.7"},
			{"10.0.0.1:1", "nonsense, 198.51.100.7,10.9.9.9 , fd00::1", "198.51.100.7"},
			{"10.0.0.1:1", "198.51.100.7:4711", "198.51.100.7"},
			{"10.0.0.1:1", "[2a00::1]:4711", "2a00::1"},
			{"10.0.0.1:1", "[2a00::1]", "2a00::1"},
			{"10.0.0.1:1", "2a00::1", "2a00::1"},
			{"10.0.0.1:1", "::ffff:198.51.100.7", "198.51.100.7"},
			{"10.0.0.1:1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
			{"10.0.0.1:1", "", "10.0.0.1"},
			{"192.0.2.1:1", "198.51.100.7", "192.0.2.1"},
			{"192.0.2.1:1", "nonsense", "192.0.2.1"},
		} {
			header := http.Header{}
			if x.header != "" {
				header.Add("X-Forwarded-For", x.header)
			}
			c, _, err := w.over(w.raw(x.from), header)
			if err != nil {
				t.Fatalf("%+v: %v", x, err)
			}
			c.expect("* HELLO <rest>")
			c.login("alice")
			if got := w.site.succeeded[i].Source.String(); got != x.client {
				t.Errorf("%+v: taken for %s", x, got)
			}
			_ = c.Close()
		}
		for _, header := range []string{"nonsense", "198.51.100.7,", ",", "198.51.100.7, unknown", "fe80::1%eth0", "1.2.3.4.5", "0.0.0.0", "[1.2.3.4"} {
			if status, _ := answer(t, w.raw("10.0.0.1:1"), upgrade+"X-Forwarded-For: "+header+"\r\n\r\n"); status != 400 {
				t.Errorf("%q is answered %d", header, status)
			}
		}
	})
}

// Several headers are one list, in their order.
func TestXForwardedForInSeveralHeaders(t *testing.T) {
	playWeb(t, forwarding, func(w *webStage) {
		c, _, err := w.over(w.raw("10.0.0.1:1"), http.Header{"X-Forwarded-For": {"198.51.100.7", "203.0.113.1"}})
		if err != nil {
			t.Fatal(err)
		}
		c.expect("* HELLO <rest>")
		c.login("alice")
		if got := w.site.succeeded[0].Source.String(); got != "203.0.113.1" {
			t.Errorf("taken for %s", got)
		}
		_ = c.Close()
	})
}

// Limits by source hold for the proxy's clients, and not for the proxy.
func TestXForwardedForIsCounted(t *testing.T) {
	playWeb(t, func(c *Config) { forwarding(c); c.perSourceUnauthenticated = 2 }, func(w *webStage) {
		var held []*client
		from := func(client string) int {
			c, r, err := w.over(w.raw("10.0.0.1:1"), http.Header{"X-Forwarded-For": {client}})
			if err == nil {
				held = append(held, c)
			}
			return r.StatusCode
		}
		for _, x := range []struct {
			client string
			status int
		}{{"198.51.100.1", 101}, {"198.51.100.1", 101}, {"198.51.100.1", 503}, {"198.51.100.2", 101}, {"198.51.100.2", 101}} {
			if got := from(x.client); got != x.status {
				t.Errorf("%s is answered %d, want %d", x.client, got, x.status)
			}
		}
		for _, c := range held {
			_ = c.Close()
		}
	})
}

// A balancer says by the PROXY protocol who its client is; where it is an HTTP
// proxy too it need not.
func TestWebSocketBehindPROXY(t *testing.T) {
	set := func(c *Config) {
		forwarding(c)
		c.Balancers = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("172.16.0.0/12")}
	}
	playWeb(t, set, func(w *webStage) {
		for i, x := range []struct{ from, proxy, header, client string }{
			{"172.16.0.1:1", "PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n", "", "198.51.100.7"},
			{"172.16.0.1:1", "PROXY TCP4 198.51.100.7 127.0.0.1 1 2\r\n", "203.0.113.1", "198.51.100.7"},
			{"172.16.0.1:1", "PROXY TCP4 10.1.0.1 127.0.0.1 1 2\r\n", "203.0.113.1", "203.0.113.1"},
			{"10.0.0.1:1", "", "203.0.113.1", "203.0.113.1"},
		} {
			c := w.raw(x.from)
			_, _ = io.WriteString(c, x.proxy)
			header := http.Header{}
			if x.header != "" {
				header.Set("X-Forwarded-For", x.header)
			}
			in, _, err := w.over(c, header)
			if err != nil {
				t.Fatalf("%+v: %v", x, err)
			}
			in.expect("* HELLO <rest>")
			in.login("alice")
			if got := w.site.succeeded[i].Source.String(); got != x.client {
				t.Errorf("%+v: taken for %s", x, got)
			}
			_ = in.Close()
		}
		c := w.raw("172.16.0.1:1")
		_, _ = io.WriteString(c, upgrade+"\r\n")
		if b, _ := io.ReadAll(c); len(b) != 0 {
			t.Errorf("a balancer without a PROXY header is answered %q", b)
		}
	})
}

// A silent balancer does not keep others waiting.
func TestWebSocketSilentBalancer(t *testing.T) {
	set := func(c *Config) { c.Balancers = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")} }
	playWeb(t, set, func(w *webStage) {
		silent := w.raw("10.0.0.1:1")
		synctest.Wait()
		c, _, err := w.over(w.raw("192.0.2.1:1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if line := c.line(); !transcript.Fits("* HELLO <rest>", line) {
			t.Error(line)
		}
		_ = c.Close()
		_, _ = io.ReadAll(silent)
	})
}
