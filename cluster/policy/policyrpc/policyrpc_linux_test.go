package policyrpc

import (
	"context"
	"net"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"simpd/cluster/policy"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// tcpUserTimeout is TCP_USER_TIMEOUT of tcp(7).
const tcpUserTimeout = 0x12

// passing is a program that lets all messages pass.
type passing struct {
	simpv1.UnimplementedPolicyServiceServer
}

func (p passing) Check(context.Context, *simpv1.CheckRequest) (*simpv1.CheckResponse, error) {
	return &simpv1.CheckResponse{Verdict: simpv1.Verdict_VERDICT_PASS}, nil
}

// acceptor tells who connects.
type acceptor struct {
	net.Listener
	from chan net.Addr
}

func (a acceptor) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err == nil {
		a.from <- c.RemoteAddr()
	}
	return c, err
}

// A connection whose other end vanishes is given up after 5 seconds, and not when
// the kernel does, after a quarter of an hour.
func TestAVanishedProgramIsNoticed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	from := make(chan net.Addr, 1)
	server := grpc.NewServer()
	simpv1.RegisterPolicyServiceServer(server, passing{})
	go func() { _ = server.Serve(acceptor{l, from}) }()
	defer server.Stop()
	c, err := New(l.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	someone, err := protocol.ParseAddress("alice@example.com")
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Ask(ctx, &policy.Question{From: someone, To: someone}); err != nil || a.Verdict != policy.Pass {
		t.Fatalf("%+v %v", a, err)
	}
	port := (<-from).(*net.TCPAddr).Port
	found := false
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		fd, _ := strconv.Atoi(f.Name())
		name, err := syscall.Getsockname(fd)
		if a, ok := name.(*syscall.SockaddrInet4); err != nil || !ok || a.Port != port {
			continue
		}
		found = true
		ms, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, tcpUserTimeout)
		if err != nil || time.Duration(ms)*time.Millisecond != lossTimeout {
			t.Errorf("the connection is given up after %d ms, %v", ms, err)
		}
	}
	if !found {
		t.Error("the connection was not found")
	}
}
