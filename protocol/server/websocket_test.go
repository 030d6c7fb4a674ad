package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"simpd/protocol"
)

func (h *harbour) webSocket(address, origin string) (*websocket.Conn, error) {
	scheme := "ws://"
	options := &websocket.DialOptions{Subprotocols: []string{"simp"}, HTTPHeader: http.Header{}}
	if h.server.tls != nil {
		scheme = "wss://"
		config := h.trusted.Clone()
		config.NextProtos = nil
		options.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	}
	if origin != "" {
		options.HTTPHeader.Set("Origin", origin)
	}
	c, _, err := websocket.Dial(h.Context(), scheme+address+"/simp", options)
	return c, err
}

func (h *harbour) web(address string) *client {
	h.Helper()
	c, err := h.webSocket(address, "")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.CloseNow() })
	conn := websocket.NetConn(context.Background(), c, websocket.MessageBinary)
	return &client{h.T, conn, bufio.NewReader(conn)}
}

func TestWebSocket(t *testing.T) {
	h := newHarbour(t, nil)
	address := h.serve(h.server.ServeWebSocket)
	c := h.web(address)
	c.expect("* HELLO version=SIMP/1.1 domain=example.com")
	c.send("1 STARTTLS")
	c.expect("1 409 :TLS is on already")
	c.login("bob")
	c.send("l LISTEN")
	c.expect("l 200 <rest>")
	alice := h.dialTLS().login("alice")
	alice.write("1 SEND to=bob@example.com {5}\r\nhello")
	tag, entity := c.message()
	if entity != "hello" {
		t.Errorf("got %q", entity)
	}
	c.send("%s 200", tag)
	alice.expect("1 200 <rest>")
	if n := h.server.Move(nameless, 30*time.Second, "maintenance"); n != 2 {
		t.Errorf("%d were asked to move", n)
	}
	c.expect("* MOVE within=30 :maintenance") // no place fits a WebSocket
	alice.expect("* MOVE to=n2.example.com:7468 within=30 :maintenance")
	c.send("2 QUIT")
	c.expect("2 200")
	c.expectEnd()
}

func TestWebSocketTakesTextAndWholeLines(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Certificates, c.Insecure = nil, true })
	address := h.serve(h.server.ServeWebSocket)
	ws, err := h.webSocket(address, "")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	read := func() string {
		_, b, err := ws.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	read() // HELLO
	if err := ws.Write(t.Context(), websocket.MessageText, []byte("1 PING\r\n2 PING\r\n")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1 200\r\n", "2 200\r\n"} {
		if got := read(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte("3 PING\r\n4 PI")); err != nil {
		t.Fatal(err)
	}
	read()
	if got := read(); !strings.HasPrefix(got, "* BYE status=400 :a WebSocket message ends within a line") {
		t.Errorf("got %q", got)
	}
	if _, _, err := ws.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("it ended with %v", err)
	}
}

func TestWebSocketOriginsAndSubprotocol(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Origins = []string{"chat.example.com"} })
	address := h.serve(h.server.ServeWebSocket)
	for origin, allowed := range map[string]bool{
		"": true, "https://chat.example.com": true, "https://evil.example": false, "https://" + address: true,
	} {
		c, err := h.webSocket(address, origin)
		if (err == nil) != allowed {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			_ = c.CloseNow()
		}
	}
	config := &tls.Config{InsecureSkipVerify: true}
	c, _, err := websocket.Dial(t.Context(), "wss://"+address+"/simp", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: config}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("without the subprotocol: %v", err)
	}
	elsewhere, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: config}}).Get("https://" + address + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = elsewhere.Body.Close()
	if elsewhere.StatusCode != http.StatusNotFound {
		t.Errorf("another path is answered %s", elsewhere.Status)
	}
}

// A WebSocket that is gone ends its session.
func TestWebSocketThatIsGone(t *testing.T) {
	h := newHarbour(t, func(c *Config) { c.Certificates, c.Insecure = nil, true })
	address := h.serve(h.server.ServeWebSocket)
	c := h.web(address)
	c.expect("* HELLO <rest>")
	c.login("bob")
	_ = c.Close()
	alice := h.dial().login("alice")
	for open, _ := h.server.Sessions(); open > 1; open, _ = h.server.Sessions() {
		alice.send("1 PING")
		alice.expect("1 200")
	}
}

func nameless(c protocol.Client) string {
	return map[protocol.Transport]string{protocol.TLS: "n2.example.com:7468"}[c.Transport]
}

// Nothing is compressed, whatever the client would like.
func TestWebSocketsAreNotCompressed(t *testing.T) {
	h := newHarbour(t, nil)
	_, answer, err := websocket.Dial(t.Context(), "wss://"+h.serve(h.server.ServeWebSocket)+"/simp", &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}},
		Subprotocols:    []string{"simp"},
		CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatal(err)
	}
	if agreed := answer.Header.Get("Sec-WebSocket-Extensions"); agreed != "" {
		t.Errorf("the server agrees to %s", agreed)
	}
}
