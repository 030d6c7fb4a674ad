package netio

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// An address is what the kernel wrote.
func TestAddressOfTheKernel(t *testing.T) {
	for _, want := range []string{"127.0.0.1:0", "[::1]:0"} {
		var plain net.ListenConfig
		plain.SetMultipathTCP(false)
		l, err := plain.Listen(t.Context(), "tcp", want)
		if err != nil {
			t.Logf("%s: %v", want, err) // no IPv6 here
			continue
		}
		t.Cleanup(func() { _ = l.Close() })
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = file.Close() })
		fd, got, err := acceptFD(int(file.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		if got != AddrPort(c.LocalAddr()) {
			t.Errorf("%v became %v", c.LocalAddr(), got)
		}
	}
}
