package fairslots

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
)

var (
	oneNetwork   = netip.MustParsePrefix("192.0.2.0/24")
	otherNetwork = netip.MustParsePrefix("198.51.100.0/24")
)

// A handshake holds a slot from the moment that something has arrived until it
// reads again or ends, and takes none afterwards.
func TestAHandshakeHoldsASlotWhileItComputes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New()
		f.free = 1
		free := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if f.free != want {
				t.Errorf("%s: %d slots are free, not %d", when, f.free, want)
			}
		}
		client, server := net.Pipe()
		defer client.Close()
		c := NewConn(server)
		read := func() {
			if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("read %d octets, %v", n, err)
			}
		}
		write := func() {
			if _, err := client.Write([]byte("x")); err != nil {
				t.Error(err)
			}
		}
		c.Begin(f.NewTurn(t.Context(), oneNetwork))
		for range 2 {
			done := make(chan struct{})
			go func() { read(); close(done) }()
			free(1, "while it reads")
			write()
			<-done
			free(0, "while it computes")
		}
		c.Finish()
		free(1, "at its end")
		go write()
		read()
		free(1, "after its end")
		server.Close()
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("read %d octets, %v", n, err)
		}
	})
}

// What has arrived is not returned if the handshake ends before its turn comes.
func TestAHandshakeThatEndsReadsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New()
		f.free = 0
		client, server := net.Pipe()
		defer client.Close()
		c := NewConn(server)
		ctx, cancel := context.WithCancel(t.Context())
		c.Begin(f.NewTurn(ctx, oneNetwork))
		ended := make(chan error, 1)
		go func() {
			n, err := c.Read(make([]byte, 1))
			if n != 0 {
				t.Errorf("read %d octets", n)
			}
			ended <- err
		}()
		if _, err := client.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		c.Finish()
		if f.free != 0 || f.Waiting() != 0 {
			t.Errorf("%d slots are free, %d wait", f.free, f.Waiting())
		}
	})
}

// A Turn takes one slot however often it acquires one, and waits among those of
// its network.
func TestTurnsAreThoseOfTheirNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New()
		f.free = 1
		first := f.NewTurn(t.Context(), oneNetwork)
		for range 2 {
			if err := first.Acquire(); err != nil {
				t.Fatal(err)
			}
		}
		came := make(chan int)
		turns := make([]*Turn, 3)
		for i, network := range []netip.Prefix{oneNetwork, oneNetwork, otherNetwork} {
			turns[i] = f.NewTurn(t.Context(), network)
			go func() {
				if err := turns[i].Acquire(); err != nil {
					t.Error(err)
				}
				came <- i
			}()
			synctest.Wait()
		}
		var order []int
		for held := first; len(order) < len(turns); held = turns[order[len(order)-1]] {
			held.Release()
			held.Release() // does nothing
			order = append(order, <-came)
		}
		if !slices.Equal(order, []int{0, 2, 1}) {
			t.Errorf("the order was %v", order)
		}
		var none *Turn
		none.Release()
		if err := none.Acquire(); err != nil {
			t.Error(err)
		}
	})
}

// lateContext ends when its Done is asked for, just after it has done something.
type lateContext struct {
	context.Context
	before func()
	ended  bool
}

func (c *lateContext) Done() <-chan struct{} {
	c.before()
	c.ended = true
	closed := make(chan struct{})
	close(closed)
	return closed
}

func (c *lateContext) Err() error {
	if c.ended {
		return context.Canceled
	}
	return nil
}

// A turn that comes in the moment that waiting ends is passed on.
func TestATurnThatComesTooLateIsPassedOn(t *testing.T) {
	for range 100 { // select chooses at random
		f := New()
		f.free = 0
		ctx := &lateContext{Context: t.Context(), before: f.Release}
		if err := f.Acquire(ctx, oneNetwork); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
		if f.free != 1 || f.Waiting() != 0 {
			t.Fatalf("%d slots are free, %d wait", f.free, f.Waiting())
		}
	}
}

// halfConn is a connection whose sending side can be ended.
type halfConn struct {
	net.Conn
	ended int
}

func (c *halfConn) CloseWrite() error { c.ended++; return errHalf }

var errHalf = errors.New("half")

func TestTheSendingSideIsEnded(t *testing.T) {
	half := &halfConn{}
	if err := NewConn(half).CloseWrite(); !errors.Is(err, errHalf) || half.ended != 1 {
		t.Errorf("got %v, after %d ends", err, half.ended)
	}
	whole, other := net.Pipe()
	defer other.Close()
	if err := NewConn(whole).CloseWrite(); err != nil {
		t.Error(err)
	}
}
