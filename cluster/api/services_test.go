package api_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	simpv1 "simpd/proto/simp/v1"
)

func TestHealthOfEachService(t *testing.T) {
	s := newSite(t)
	health := healthv1.NewHealthClient(s.conn)
	for _, ready := range []bool{false, true} {
		s.server.SetServing(ready)
		want := healthv1.HealthCheckResponse_NOT_SERVING
		if ready {
			want = healthv1.HealthCheckResponse_SERVING
		}
		for _, service := range []string{"", "simp.v1.PresenceService", "simp.v1.MessageService", "simp.v1.AccountService", "simp.v1.ClusterService"} {
			r, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{Service: service})
			if err != nil || r.Status != want {
				t.Errorf("%q: %v, %v; want %v", service, r, err, want)
			}
		}
	}
}

func TestReflectionNamesTheServices(t *testing.T) {
	s := newSite(t)
	stream, err := reflectionv1.NewServerReflectionClient(s.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if names := r.String(); !strings.Contains(names, "simp.v1.PresenceService") || !strings.Contains(names, "simp.v1.ClusterService") {
		t.Errorf("got %s", names)
	}
}

// Reflection tells the comments of the .proto files too, of every file.
func TestReflectionHasComments(t *testing.T) {
	s := newSite(t)
	stream, err := reflectionv1.NewServerReflectionClient(s.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, symbol := range []string{"simp.v1.PresenceService", "simp.v1.MessageService", "simp.v1.AccountService", "simp.v1.ClusterService", "simp.v1.Position"} {
		err := stream.Send(&reflectionv1.ServerReflectionRequest{
			MessageRequest: &reflectionv1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol},
		})
		if err != nil {
			t.Fatal(err)
		}
		r, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		comments := 0
		for _, octets := range r.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(octets, file); err != nil {
				t.Fatal(err)
			}
			for _, l := range file.GetSourceCodeInfo().GetLocation() {
				if l.GetLeadingComments() != "" {
					comments++
				}
			}
		}
		if comments < 5 {
			t.Errorf("%s: %d comments", symbol, comments)
		}
	}
}

func TestPathsThatAreNoMethodAreRefused(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/simp.v1.PresenceService/Nope", "/simp.v1.PresenceService/Get/", "//simp.v1.PresenceService/Get", "simp.v1.PresenceService/Get", "/simp.v1.PresenceService", "x"} {
		err := s.conn.Invoke(t.Context(), path, &simpv1.GetRequest{Ima: []string{"a@example.com"}}, &simpv1.GetResponse{})
		if code := status.Code(err); code != codes.Unimplemented && code != codes.PermissionDenied && code != codes.Internal {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestARequestLargerThanAMegabyteIsRefused(t *testing.T) {
	s := newSite(t)
	_, err := s.messages.Send(t.Context(), &simpv1.SendRequest{From: "a@example.com", To: []string{"b@example.com"}, Entity: make([]byte, 1<<20)})
	wantReason(t, err, codes.ResourceExhausted, "TOO_LARGE")
}

// A request counts as large as it is unpacked, and is not unpacked beyond
// the limit.
func TestARequestThatUnpacksToTooMuchIsRefused(t *testing.T) {
	s := newSite(t)
	bomb := &simpv1.SendRequest{From: "a@example.com", To: []string{"b@example.com"}, Entity: make([]byte, 32<<20)}
	_, err := s.messages.Send(t.Context(), bomb, grpc.UseCompressor(gzip.Name))
	wantReason(t, err, codes.ResourceExhausted, "TOO_LARGE")
}

func TestAConnectionThatSaysNothingIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		c, err := s.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begun := time.Now()
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}
