package main

import (
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestSupervisorIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	s := supervisor{slog.New(slog.DiscardHandler)}
	for _, test := range []struct {
		tell func()
		want string
	}{{s.ready, "READY=1"}, {s.reloading, "RELOADING=1"}, {s.stopping, "STOPPING=1"}} {
		test.tell()
		if err := socket.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 64)
		n, err := socket.Read(b)
		if err != nil || string(b[:n]) != test.want {
			t.Errorf("told %q, %v; want %q", b[:n], err, test.want)
		}
	}
}
