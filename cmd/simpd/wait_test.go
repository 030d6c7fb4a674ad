package main

import (
	"net"
	"runtime/pprof"
	"sync"
	"testing"
	"time"
)

// receive waits for what a channel brings.
func receive[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		giveUp(t, what)
	}
	return v
}

// join waits until all goroutines of a group have ended.
func join(t *testing.T, what string, g *sync.WaitGroup) {
	t.Helper()
	ended := make(chan struct{})
	go func() { defer close(ended); g.Wait() }()
	receive(t, what, ended)
}

// giveUp ends a test that waits in vain, and shows what everybody waits for.
func giveUp(t *testing.T, what string) {
	t.Helper()
	_ = pprof.Lookup("goroutine").WriteTo(t.Output(), 1)
	t.Fatalf("not in %v: %s", patience, what)
}

// dial connects to an address; whatever is not read or written in time fails.
func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
