package linktest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const here, there, port = "10.0.0.1", "10.0.0.2", "10.0.0.2:7470"

// pair connects two hosts.
func pair(t *testing.T, n *Network) (near, far net.Conn) {
	t.Helper()
	l, err := n.Listen(port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if near, err = n.Dialer(here)(t.Context(), port); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestWhatIsSentWhileCutApartArrivesLaterInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		near, far := pair(t, n)
		n.Cut(here, there)
		for _, s := range []string{"one ", "two ", "three"} {
			if _, err := near.Write([]byte(s)); err != nil {
				t.Fatal(err)
			}
		}
		near.Close()
		far.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("something came through the cut: %v", err)
		}
		far.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { n.Heal(here, there) })
		if all, err := io.ReadAll(far); string(all) != "one two three" || err != nil {
			t.Errorf("%q, %v", all, err)
		}
	})
}

func TestAWriterDoesNotHearThroughACutThatTheReaderHasClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		near, far := pair(t, n)
		n.Cut(there, here)
		far.Close()
		if _, err := near.Write([]byte("x")); err != nil {
			t.Errorf("a write while cut apart: %v", err)
		}
		time.AfterFunc(time.Minute, func() { n.Heal(there, here) })
		if _, err := near.Write(make([]byte, maxBuffered)); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write that waits for the end of the cut: %v", err)
		}
	})
}

func TestNobodyConnectsThroughACut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		pair(t, n)
		n.Cut(there, here)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Dialer(here)(ctx, port); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it connects: %v", err)
		}
	})
}

func TestAHostThatIsGoneRefusesAndResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New()
		near, _ := pair(t, n)
		time.AfterFunc(time.Second, func() { n.Kill(there) })
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a read: %v", err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("a write: %v", err)
		}
		if _, err := n.Dialer(here)(t.Context(), port); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("it connects: %v", err)
		}
	})
}

func TestAWriterWaitsForAReaderWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := pair(t, New())
		near.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := near.Write(make([]byte, 2*maxBuffered))
		if n != maxBuffered || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d, %v", n, err)
		}
		near.SetWriteDeadline(time.Time{})
		go io.Copy(io.Discard, far)
		if _, err := near.Write(make([]byte, maxBuffered)); err != nil {
			t.Error(err)
		}
		near.Close()
	})
}
