package netio

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// The buffers are found in this version of Go.
func TestTLSBuffersAreFound(t *testing.T) {
	b := findTLSBuffers(tls.Server(nil, &tls.Config{}))
	if b.raw == nil || b.hand == nil {
		t.Fatal("package tls keeps its buffers under other names now: findTLSBuffers has to be adapted")
	}
}

// Empty buffers are given back, and those that hold something are not.
func TestLeftoversKeepWhatIsNotRead(t *testing.T) {
	var empty, full, small bytes.Buffer
	empty.Grow(2 * minReleasable)
	full.Write(make([]byte, 2*minReleasable))
	small.Grow(minReleasable / 2)
	tlsBuffers{&full, &empty}.release()
	tlsBuffers{nil, &small}.release()
	if empty.Cap() > 0 || full.Len() < 2*minReleasable || small.Cap() == 0 {
		t.Errorf("room for %d is kept in an empty one, %d octets in a full one, room for %d in a small one", empty.Cap(), full.Len(), small.Cap())
	}
}

// If a later version of Go has other names for the buffers, or other types,
// nothing is found, and TLS works as it does with the buffers kept.
func TestTLSWithoutItsBuffers(t *testing.T) {
	c := tls.Server(nil, &tls.Config{})
	for _, name := range []string{"rawInputs", "isClient"} {
		if bufferOf(c, name) != nil {
			t.Errorf("%s is a buffer", name)
		}
	}
	client, w := newTestTLS(t)
	w.buffers = tlsBuffers{}
	for _, text := range []string{"short", strings.Repeat("long", 5000), "end"} {
		if _, err := client.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		var got []byte
		for len(got) < len(text) {
			octets, _, err := w.Read()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, octets...)
		}
		if string(got) != text {
			t.Errorf("%d octets came other than they were sent", len(text))
		}
	}
}

// newTestTLS returns both ends of TLS over TCP, after the handshake.
func newTestTLS(t testing.TB) (*tls.Conn, *tlsTransport) {
	t.Helper()
	var ls eventLoops
	t.Cleanup(ls.stop)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	sock, err := ls.fromTCPConn(accepted.(*net.TCPConn), new(coalescer))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sock.Close() })
	if err := sock.attach(nil); err != nil {
		t.Fatal(err)
	}
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	w, err := newTLSOverSocket(sock, &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return client, w
}

func testCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// BenchmarkIdleTLSBuffers says what the buffers of an idle connection take after
// a handshake and one message of 16 KiB, with the trick and without.
func BenchmarkIdleTLSBuffers(b *testing.B) {
	client, w := newTestTLS(b)
	buffers := w.buffers
	for name, used := range map[string]tlsBuffers{"released": buffers, "kept": {}} {
		b.Run(name, func(b *testing.B) {
			w.buffers = used
			for b.Loop() {
				if _, err := client.Write(make([]byte, 16<<10)); err != nil {
					b.Fatal(err)
				}
				for n := 0; n < 16<<10; {
					octets, _, err := w.Read()
					if err != nil {
						b.Fatal(err)
					}
					n += len(octets)
				}
				_, _, _ = w.readNow(make([]byte, 1)) // nothing: the loop goes on to others
			}
			b.ReportMetric(float64(buffers.raw.Cap()+buffers.hand.Cap()), "B/conn")
		})
	}
}
