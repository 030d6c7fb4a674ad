package api_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"

	"simpd/cluster/api"
)

// The row of the review: 10 connections without credentials, 1,000 unfinished
// calls of 1 MiB took 1.1 GB.
func TestUnfinishedCallsOfStrangersTakeNoMemory(t *testing.T) {
	s := newSecured(t)
	before := heap()
	for range 10 {
		c := s.rawTLS(t, "")
		first, _ := c.call(sendMethod)
		if code := c.wait(first); code != codes.Unauthenticated {
			t.Fatalf("without a body: %v", code)
		}
		c.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)) // strangers are read slowly
		for range 99 {
			if id, ok := c.call(sendMethod); !ok || !c.message(id, 1<<20, 1<<20-1) {
				break // a connection that makes so many bad calls is closed
			}
		}
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
	if held := s.secure.Held(); held > 10*connCost {
		t.Errorf("%d octets are held for strangers", held)
	}
}

func TestStrangersMayOnlyCheckHealth(t *testing.T) {
	s := newSecured(t)
	none, ctx := healthv1.NewHealthClient(s.dial(t, s.dir, "")), t.Context()
	if _, err := none.Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("check: %v", err)
	}
	_, err := none.List(ctx, &healthv1.HealthListRequest{})
	wantCode(t, err, codes.Unauthenticated, "")
	stream, err := none.Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, err, codes.Unauthenticated, "")
	known, err := healthv1.NewHealthClient(s.dial(t, s.dir, "service-desk")).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := known.Recv(); err != nil {
		t.Errorf("watch of a program: %v", err)
	}
}

func TestStrangersMakeFewCallsAtOnce(t *testing.T) {
	s := newSecured(t)
	c := s.rawTLS(t, "")
	var ids []uint32
	for range 5 {
		id, _ := c.call(checkMethod)
		ids = append(ids, id)
	}
	if code := c.wait(ids[4]); code != codes.ResourceExhausted {
		t.Errorf("the fifth call at once: %v", code)
	}
	wantReason(t, c.err(ids[4]), codes.ResourceExhausted, "OVER_LIMIT")
	for _, id := range ids[:4] {
		c.ask(id)
		if code := c.wait(id); code != codes.OK {
			t.Errorf("call %d: %v", id, code)
		}
	}
}

func TestAStrangerWhoseCallsAreAllRefusedIsSentAway(t *testing.T) {
	c := newSecured(t).rawTLS(t, "")
	for i := range 150 {
		id, ok := c.call(sendMethod)
		if !ok || c.wait(id) == codes.Unavailable {
			if i < 99 {
				t.Errorf("closed after %d calls", i)
			}
			return
		}
	}
	t.Error("150 calls were refused on one connection")
}

// remote serves s on a pipe to whose other end nobody is known.
func (s *testSite) remote(t *testing.T) (dial func() net.Conn, server *api.Server) {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	server, served := api.New(s.config), make(chan error, 1)
	go func() { served <- server.Serve(&elsewhere{Listener: l}) }()
	t.Cleanup(func() { server.Shutdown(context.Background()); <-served })
	return func() net.Conn {
		c, err := l.DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}, server
}

func TestAStrangerWhoCallsNothingIsSentAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, server := newSite(t).remote(t)
		c, begun := newRawClient(t, dial()), time.Now()
		<-c.closed
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("closed after %s", took)
		}
		synctest.Wait()
		if server.Connections() != 0 || server.Held() != 0 {
			t.Errorf("%d connections are left", server.Connections())
		}
	})
}

func TestAStrangerWhoChecksHealthMayStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, _ := newSite(t).remote(t)
		c, begun := newRawClient(t, dial()), time.Now()
		for range 10 {
			id, _ := c.call(checkMethod)
			c.ask(id)
			if code := c.wait(id); code != codes.OK {
				t.Fatal(code)
			}
			time.Sleep(20 * time.Second)
		}
		<-c.closed
		if took := time.Since(begun); took != 3*time.Minute+2*time.Minute {
			t.Errorf("closed after %s", took)
		}
	})
}

func TestASourceHasFewConnectionsThatNobodyIsKnownOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, server := newSite(t).remote(t)
		var all []*rawClient
		for range 20 {
			all = append(all, newRawClient(t, dial()))
			synctest.Wait()
		}
		if n := server.Connections(); n != 16 {
			t.Errorf("%d connections", n)
		}
		<-all[0].closed // the oldest has made room
		id, _ := all[19].call(checkMethod)
		all[19].ask(id)
		if code := all[19].wait(id); code != codes.OK {
			t.Errorf("the newest: %v", code)
		}
	})
}

func TestAStrangerIsReadSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, server := newSite(t).remote(t)
		c, begun := newRawClient(t, dial()), time.Now()
		id, _ := c.call(checkMethod)
		if c.message(id, 1<<20, 1<<20-1) {
			c.wait(id)
		}
		if took := time.Since(begun); took < 5*time.Second {
			t.Errorf("a megabyte was taken within %s", took)
		}
		if held := server.Held(); held > 1<<20 {
			t.Errorf("%d octets are held", held)
		}
	})
}
