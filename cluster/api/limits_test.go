package api_test

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

func TestARequestOfVeryManyFieldsIsRefused(t *testing.T) {
	s := newSite(t)
	_, err := s.presence.Get(t.Context(), &simpv1.GetRequest{Ima: make([]string, 4097)})
	if err == nil || !strings.Contains(err.Error(), "more than 4096 fields") {
		t.Errorf("got %v", err)
	}
	_, err = s.presence.Get(t.Context(), &simpv1.GetRequest{Ima: make([]string, 4096)})
	wantCode(t, err, codes.InvalidArgument, "")
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
