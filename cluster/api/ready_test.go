package api_test

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	simpv1 "simpd/proto/simp/v1"
)

// A node that has not caught up with the site, or is no part of it any more,
// answers nothing from its table.
func TestNothingIsAnsweredFromAHalfLoadedTable(t *testing.T) {
	s := newSite(t)
	s.directory.mu.Lock()
	s.directory.behind = errors.New("this node has started and is still catching up with the site")
	s.directory.mu.Unlock()
	asked := 0
	for _, service := range []grpc.ServiceDesc{
		simpv1.PresenceService_ServiceDesc, simpv1.MessageService_ServiceDesc, simpv1.AccountService_ServiceDesc, simpv1.ClusterService_ServiceDesc,
	} {
		for _, m := range service.Methods {
			if m.MethodName == "Status" {
				continue
			}
			err := s.conn.Invoke(t.Context(), "/"+service.ServiceName+"/"+m.MethodName, &emptypb.Empty{}, &emptypb.Empty{})
			wantReason(t, err, codes.Unavailable, "NOT_READY")
			asked++
		}
		for _, m := range service.Streams {
			stream, err := s.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service.ServiceName+"/"+m.StreamName)
			if err == nil {
				_ = stream.SendMsg(&emptypb.Empty{}) // an error of the stream is told by RecvMsg
				_ = stream.CloseSend()
				err = stream.RecvMsg(&emptypb.Empty{})
			}
			wantReason(t, err, codes.Unavailable, "NOT_READY")
			asked++
		}
	}
	if asked < 20 {
		t.Errorf("only %d methods were asked", asked)
	}
	if _, err := s.cluster.Status(t.Context(), &simpv1.StatusRequest{}); err != nil {
		t.Errorf("Status: %v", err)
	}
	if _, err := healthv1.NewHealthClient(s.conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("Health: %v", err)
	}
}

// What speaks for the table is refused by a node that is cut off.
func TestACutOffNodeSpeaksForNoTable(t *testing.T) {
	s := newSite(t)
	s.listen("alice@example.com", available, "")
	s.directory.cut(3 * time.Second)
	_, err := s.accounts.Get(t.Context(), &simpv1.GetAccountRequest{Ima: "alice@example.com"})
	wantReason(t, err, codes.Unavailable, "CUT_OFF")
	_, err = s.accounts.List(t.Context(), &simpv1.ListAccountsRequest{})
	wantReason(t, err, codes.Unavailable, "CUT_OFF")
	_, err = s.cluster.ListSessions(t.Context(), &simpv1.ListSessionsRequest{})
	wantReason(t, err, codes.Unavailable, "CUT_OFF")
	_, err = s.cluster.ListSessions(t.Context(), &simpv1.ListSessionsRequest{Ima: "alice@example.com"})
	wantReason(t, err, codes.Unavailable, "CUT_OFF")
	stream, err := s.cluster.Backup(t.Context(), &simpv1.BackupRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, err, codes.Unavailable, "CUT_OFF")
}

func TestABackupWithoutAccountsHasToBeAllowed(t *testing.T) {
	s := newSite(t)
	stream, err := s.cluster.Backup(t.Context(), &simpv1.BackupRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	wantReason(t, err, codes.FailedPrecondition, "EMPTY_BACKUP")
	stream, err = s.cluster.Backup(t.Context(), &simpv1.BackupRequest{AllowEmpty: true})
	if err != nil {
		t.Fatal(err)
	}
	piece, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	s.listen("alice@example.com", available, "")
	for _, allow := range []bool{false, true} {
		restore, err := s.cluster.Restore(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := restore.Send(&simpv1.RestoreRequest{Data: piece.Data, Crc32C: piece.Crc32C, AllowEmpty: allow}); err != nil {
			t.Fatal(err)
		}
		if _, err = restore.CloseAndRecv(); allow && err != nil {
			t.Errorf("allowed: %v", err)
		} else if !allow {
			wantReason(t, err, codes.FailedPrecondition, "EMPTY_BACKUP")
		}
	}
}

// wantReason checks a call's code, and the reason that a program can act on.
func wantReason(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == "simp.v1" && info.Reason == reason && status.Code(err) == code {
			return
		}
	}
	t.Errorf("got %v, want %v with the reason %s", err, code, reason)
}
