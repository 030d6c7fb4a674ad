package api_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	simpv1 "simpd/proto/simp/v1"
)

// TestAClientMayPingEveryTenSeconds: gRPC's own default would send such a
// client away after half a minute.
func TestAClientMayPingEveryTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return s.dial() }),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		stream, err := simpv1.NewPresenceServiceClient(conn).Watch(t.Context(), &simpv1.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for begun := time.Now(); time.Since(begun) < 5*time.Minute; {
			if _, err := stream.Recv(); err != nil {
				t.Fatalf("after %s: %v", time.Since(begun), err)
			}
		}
	})
}

func TestAConsumerThatNeverReadsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		alice := s.listen("alice@example.com", available, "")
		for range 20 {
			s.watch(t, &simpv1.WatchRequest{})
		}
		reader := s.watch(t, &simpv1.WatchRequest{})
		reader.expect("alice@example.com available 1", "synced")
		for i := range 2000 {
			s.setState("alice@example.com", alice, available, time.Duration(i).String())
			reader.expect("alice@example.com available 1")
		}
		time.Sleep(5 * time.Minute)
		s.release("alice@example.com", alice)
		what := reader.next()
		for what == "progress" {
			what = reader.next()
		}
		if what != "alice@example.com deaf 0" {
			t.Fatalf("got %q", what)
		}
	})
}
