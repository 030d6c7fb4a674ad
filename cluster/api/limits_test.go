package api_test

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"simpd/cluster/api"
	simpv1 "simpd/proto/simp/v1"
)

// connCost is what a connection is counted for, in octets.
const connCost = 64 << 10

const checkMethod, getMethod, sendMethod = "/grpc.health.v1.Health/Check", "/simp.v1.PresenceService/Get", "/simp.v1.MessageService/Send"

// heap returns how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

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

// The deadline that a stranger gives a refused call holds nothing.
func TestRefusedCallsWithALongDeadlineAreRefused(t *testing.T) {
	s := newSecured(t)
	c := s.rawTLS(t, "")
	for range 10 {
		id, _ := c.call(sendMethod, "grpc-timeout", "99999999H")
		if code := c.wait(id); code != codes.Unauthenticated {
			t.Fatalf("got %v", code)
		}
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

func TestACallerAboveItsShareIsRefusedAndOthersAreServed(t *testing.T) {
	s := newSecured(t, func(c *api.Config) { c.Memory = 16 << 20 })
	desk, pager := s.rawTLS(t, "service-desk"), s.dial(t, s.dir, "service-pager")
	busy := false
	var last uint32
	for i := 0; i < 100 && !busy; i++ {
		id, ok := desk.call(getMethod)
		if !ok || !desk.message(id, 1<<20, 60<<10) {
			t.Fatal("the connection was closed")
		}
		last = id
		desk.mu.Lock()
		for _, code := range desk.ended {
			busy = busy || code == codes.ResourceExhausted
		}
		desk.mu.Unlock()
	}
	if !busy {
		desk.wait(last)
		desk.mu.Lock()
		for _, code := range desk.ended {
			busy = busy || code == codes.ResourceExhausted
		}
		desk.mu.Unlock()
	}
	if !busy {
		t.Error("100 unfinished requests of one caller were let in")
	}
	if held := s.secure.Held(); held > 8<<20 {
		t.Errorf("%d octets are held", held)
	}
	err := get(t.Context(), s.dial(t, s.dir, "service-desk"))
	wantReason(t, err, codes.ResourceExhausted, "OVER_LIMIT")
	retry := false
	for _, d := range status.Convert(err).Details() {
		_, is := d.(*errdetails.RetryInfo)
		retry = retry || is
	}
	if !retry {
		t.Error("it does not say when to try again")
	}
	s.account("pager@example.com")
	_, err = simpv1.NewMessageServiceClient(pager).Send(t.Context(), &simpv1.SendRequest{From: "pager@example.com", To: []string{"bob@example.com"}, Entity: make([]byte, 60<<10)})
	if err != nil {
		t.Errorf("another caller: %v", err)
	}
}

// A message that comes octet by octet costs many times what it holds.
func TestTinyFramesCountForWhatTheyCost(t *testing.T) {
	s := newSecured(t)
	c := s.rawTLS(t, "service-desk")
	id, _ := c.call(getMethod)
	c.message(id, 1<<20, 0)
	for range 1000 {
		c.data(id, []byte{0})
	}
	other, _ := c.call("/simp.v1.PresenceService/None")
	c.wait(other)
	if held := s.secure.Held(); held < connCost+1000*90 {
		t.Errorf("%d octets are held", held)
	}
}

func TestWhatACallHeldIsGivenBack(t *testing.T) {
	s := newSecured(t)
	conn := s.dial(t, s.dir, "service-desk")
	for range 20 {
		if err := get(t.Context(), conn); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := simpv1.NewPresenceServiceClient(conn).Watch(ctx, &simpv1.WatchRequest{Ima: []string{"a@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if held := s.secure.Held(); held < connCost+12<<10 {
		t.Errorf("with a Watch open %d octets are held", held)
	}
	cancel()
	await(t, "only the connection is counted", func() bool { return s.secure.Held() == connCost })
	conn.Close()
	await(t, "nothing is counted", func() bool { return s.secure.Held() == 0 && s.secure.Connections() == 0 })
}

// await waits for what another goroutine is about to do.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestAnswersThatAreNotReadAreCounted(t *testing.T) {
	s := newSecured(t)
	for i := range 200 {
		s.testSite.listen(user(i), available, strings.Repeat("x", 200))
	}
	c := s.rawTLS(t, "service-desk")
	var refused bool
	for i := 0; i < 100 && !refused; i++ {
		id, _ := c.call("/simp.v1.PresenceService/List")
		c.ask(id)
		refused = c.next > 2 && s.secure.Held() > 1<<20
	}
	await(t, "the answers are counted", func() bool { return s.secure.Held() > 1<<20 })
}

func user(i int) string {
	return "u" + strings.Repeat("x", i%50) + string(rune('a'+i/50)) + "@example.com"
}

// The row of the review: 16,304 refused calls wrote 3.4 MB of log.
func TestRefusedCallsWriteFewLines(t *testing.T) {
	var log safeBuffer
	s := newSecured(t, func(c *api.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	conn := s.dial(t, s.dir, "service-pager")
	for range 500 {
		_, err := simpv1.NewAccountServiceClient(conn).Delete(t.Context(), &simpv1.DeleteAccountRequest{Ima: "alice@example.com"})
		wantCode(t, err, codes.PermissionDenied, "")
	}
	none := s.rawTLS(t, "")
	for range 99 {
		id, _ := none.call("/simp.v1.AccountService/Delete")
		none.wait(id)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 {
		t.Errorf("%d lines were written:\n%s", lines, log.String())
	}
	s.secure.Shutdown(t.Context())
	if text := log.String(); !strings.Contains(text, "count=499") || !strings.Contains(text, "count=98") {
		t.Errorf("the others are not counted:\n%s", text)
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

func TestARequestOfVeryManyFieldsIsRefused(t *testing.T) {
	s := newSite(t)
	_, err := s.presence.Get(t.Context(), &simpv1.GetRequest{Ima: make([]string, 4097)})
	if err == nil || !strings.Contains(err.Error(), "more than 4096 fields") {
		t.Errorf("got %v", err)
	}
	_, err = s.presence.Get(t.Context(), &simpv1.GetRequest{Ima: make([]string, 4096)})
	wantCode(t, err, codes.InvalidArgument, "")
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

func TestTheTimesOfACall(t *testing.T) {
	for _, c := range []struct {
		what string
		call func(*rawClient) uint32
		want time.Duration
		why  string
	}{
		{"a body that does not come", func(c *rawClient) uint32 { id, _ := c.call(getMethod); return id }, 10 * time.Second, "TIMED_OUT"},
		{"half a body", func(c *rawClient) uint32 { id, _ := c.call(getMethod); c.message(id, 1000, 500); return id }, 10 * time.Second, "TIMED_OUT"},
		{"half a body of a stream of answers", func(c *rawClient) uint32 {
			id, _ := c.call("/simp.v1.PresenceService/Watch")
			c.message(id, 1000, 500)
			return id
		}, 10 * time.Second, "TIMED_OUT"},
		{"an import that pauses", func(c *rawClient) uint32 {
			id, _ := c.call("/simp.v1.AccountService/Import")
			c.message(id, 0, 0)
			return id
		}, 30 * time.Second, "TIMED_OUT"},
		{"an import without an end", func(c *rawClient) uint32 {
			id, _ := c.call("/simp.v1.AccountService/Import")
			for end := time.Now().Add(6*time.Hour - time.Second); time.Now().Before(end); time.Sleep(25 * time.Second) {
				c.message(id, 0, 0)
			}
			return id
		}, 6 * time.Hour, "OUTCOME_UNKNOWN"},
		{"a restore that pauses within a piece", func(c *rawClient) uint32 {
			id, _ := c.call("/simp.v1.ClusterService/Restore")
			c.message(id, 1000, 500)
			return id
		}, 30 * time.Second, "TIMED_OUT"},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				conn, err := s.dial()
				if err != nil {
					t.Fatal(err)
				}
				raw, begun := newRawClient(t, conn), time.Now()
				id := c.call(raw)
				if code := raw.wait(id); code != codes.DeadlineExceeded || time.Since(begun) != c.want {
					t.Errorf("%v after %v", code, time.Since(begun))
				}
				wantReason(t, raw.err(id), codes.DeadlineExceeded, c.why)
			})
		})
	}
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
