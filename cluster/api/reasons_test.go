package api_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"simpd/cluster/api"
	"simpd/cluster/api/backup"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// documentedReason is a row of the table in docs/programs.md.
var documentedReason = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| `([A-Z_]+)`(?: or `([A-Z_]+)`)? \\|")

func TestReasonsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/programs.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{}
	for _, row := range documentedReason.FindAllStringSubmatch(string(page), -1) {
		documented[row[1]] = slices.DeleteFunc(row[2:], func(s string) bool { return s == "" })
	}
	for reason, of := range api.ReasonCodes() {
		var names []string
		for _, c := range of {
			names = append(names, screaming(c))
		}
		if !slices.Equal(names, documented[reason]) {
			t.Errorf("%s comes with %v; docs/programs.md says %v", reason, names, documented[reason])
		}
		delete(documented, reason)
	}
	for reason := range documented {
		t.Errorf("docs/programs.md explains %s, which does not exist", reason)
	}
}

// screaming returns a code's name as documentation has it: NOT_FOUND.
func screaming(c codes.Code) string {
	var name []rune
	for i, r := range c.String() {
		if i > 0 && unicode.IsUpper(r) {
			name = append(name, '_')
		}
		name = append(name, unicode.ToUpper(r))
	}
	return string(name)
}

// checkExplained fails unless err tells programs its cause as docs/programs.md
// promises it. It returns the reason; "" for INVALID_ARGUMENT.
func checkExplained(t *testing.T, what string, err error) (reason string) {
	t.Helper()
	var violations []*errdetails.BadRequest_FieldViolation
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			violations = d.FieldViolations
		case *errdetails.ErrorInfo:
			if d.Domain == "simp.v1" {
				reason = d.Reason
			}
		}
	}
	code := status.Code(err)
	if code == codes.InvalidArgument {
		if len(violations) == 0 || slices.ContainsFunc(violations, func(v *errdetails.BadRequest_FieldViolation) bool {
			return v.Field == "" || v.Description == ""
		}) {
			t.Errorf("%s: %v names no wrong field", what, err)
		}
		return reason
	}
	if reason != "PARTLY_DONE" && !slices.Contains(api.ReasonCodes()[reason], code) {
		t.Errorf("%s: %v has the reason %q", what, err, reason)
	}
	return reason
}

// valid are requests that are in order, by method.
func valid(s *testSite) map[string]proto.Message {
	file := fetch(s.t.(*testing.T), s)
	const alice, n2 = "alice@example.com", "n2"
	account, _ := s.table.Account(address(alice))
	return map[string]proto.Message{
		"/simp.v1.PresenceService/Get":               &simpv1.GetRequest{Ima: []string{alice}, Fresh: true},
		"/simp.v1.PresenceService/List":              &simpv1.ListRequest{Fresh: true},
		"/simp.v1.PresenceService/Watch":             &simpv1.WatchRequest{After: &simpv1.Position{History: "other", Index: 1}},
		"/simp.v1.MessageService/Send":               &simpv1.SendRequest{From: alice, To: []string{alice}},
		"/simp.v1.AccountService/Create":             &simpv1.CreateAccountRequest{Ima: "new@example.com", Credential: someCredential()},
		"/simp.v1.AccountService/Import":             &simpv1.ImportAccountsRequest{Account: []*simpv1.ImportedAccount{{Ima: "x@example.com", Credential: someCredential()}}},
		"/simp.v1.AccountService/Delete":             &simpv1.DeleteAccountRequest{Ima: alice},
		"/simp.v1.AccountService/Disable":            &simpv1.DisableAccountRequest{Ima: alice},
		"/simp.v1.AccountService/Enable":             &simpv1.EnableAccountRequest{Ima: alice},
		"/simp.v1.AccountService/SetPassword":        &simpv1.SetPasswordRequest{Ima: alice, Credential: otherCredential()},
		"/simp.v1.AccountService/Get":                &simpv1.GetAccountRequest{Ima: alice},
		"/simp.v1.AccountService/List":               &simpv1.ListAccountsRequest{},
		"/simp.v1.AccountService/ListAppPasswords":   &simpv1.ListAppPasswordsRequest{Ima: alice},
		"/simp.v1.AccountService/RemoveAppPassword":  &simpv1.RemoveAppPasswordRequest{Ima: alice, Id: account.AppPasswords()[0].ID},
		"/simp.v1.AccountService/ListKeys":           &simpv1.ListKeysRequest{Ima: alice},
		"/simp.v1.AccountService/RevokeKey":          &simpv1.RevokeKeyRequest{Ima: alice, Id: account.Keys()[0].ID},
		"/simp.v1.InviteService/Create":              &simpv1.CreateInvitationRequest{Contact: alice},
		"/simp.v1.InviteService/List":                &simpv1.ListInvitationsRequest{},
		"/simp.v1.InviteService/Remove":              &simpv1.RemoveInvitationRequest{Id: s.table.View().Invitations()[0].ID},
		"/simp.v1.BlockService/Add":                  &simpv1.AddBlockRequest{Target: "@new.example"},
		"/simp.v1.BlockService/List":                 &simpv1.ListBlocksRequest{},
		"/simp.v1.BlockService/Remove":               &simpv1.RemoveBlockRequest{Target: "@spam.example"},
		"/simp.v1.ReportService/List":                &simpv1.ListReportsRequest{},
		"/simp.v1.ReportService/Get":                 &simpv1.GetReportRequest{Id: s.newestReport()},
		"/simp.v1.ReportService/Watch":               &simpv1.WatchReportsRequest{},
		"/simp.v1.ReportService/Resolve":             &simpv1.ResolveReportRequest{Id: s.newestReport()},
		"/simp.v1.AccountService/CheckSources":       &simpv1.CheckSourcesRequest{Ima: alice},
		"/simp.v1.ClusterService/Status":             &simpv1.StatusRequest{},
		"/simp.v1.ClusterService/Drain":              &simpv1.DrainRequest{Node: n2},
		"/simp.v1.ClusterService/Undrain":            &simpv1.UndrainRequest{Node: n2},
		"/simp.v1.ClusterService/TransferLeadership": &simpv1.TransferLeadershipRequest{},
		"/simp.v1.ClusterService/RemoveNode":         &simpv1.RemoveNodeRequest{Node: n2},
		"/simp.v1.ClusterService/AdmitNode":          &simpv1.AdmitNodeRequest{Node: n2},
		"/simp.v1.ClusterService/ListSessions":       &simpv1.ListSessionsRequest{},
		"/simp.v1.ClusterService/KickSession":        &simpv1.KickSessionRequest{Target: &simpv1.KickSessionRequest_Ima{Ima: alice}},
		"/simp.v1.ClusterService/Backup":             &simpv1.BackupRequest{},
		"/simp.v1.ClusterService/Restore":            &simpv1.RestoreRequest{Data: file, Crc32C: backup.Sum(file)},
		"/simp.v1.ClusterService/CheckDomain":        &simpv1.CheckDomainRequest{Domain: "two.example"},
		"/simp.v1.ClusterService/CreateConsoleLink":  &simpv1.CreateConsoleLinkRequest{},
		"/simp.v1.ClusterService/RevokeConsole":      &simpv1.RevokeConsoleRequest{},
		"/grpc.health.v1.Health/Check":               &healthv1.HealthCheckRequest{},
		"/grpc.health.v1.Health/List":                &healthv1.HealthListRequest{},
		"/grpc.health.v1.Health/Watch":               &healthv1.HealthCheckRequest{},
		reflectionPath("v1"):                         &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}},
		reflectionPath("v1alpha"):                    &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}},
	}
}

func reflectionPath(version string) string {
	return "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo"
}

// ask calls any method with one request, and returns how the call ends, or nil
// once it has answered.
func ask(ctx context.Context, conn *grpc.ClientConn, method string, request any, options ...grpc.CallOption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method, options...)
	if err != nil {
		return err
	}
	_ = stream.SendMsg(request) // an error of the stream is told by RecvMsg
	_ = stream.CloseSend()
	for { // the answers of a drain and a backup come before their errors
		err := stream.RecvMsg(&emptypb.Empty{})
		if err != nil && status.Code(err) == codes.Unknown && err.Error() == "EOF" {
			return nil
		}
		if err != nil || !strings.HasSuffix(method, "/Drain") && !strings.HasSuffix(method, "/Backup") {
			return err
		}
	}
}

func TestTheTableOfMethodsIsWalked(t *testing.T) {
	s := newSite(t)
	s.appAccount("alice@example.com")
	s.invitation(nil)
	s.block("@spam.example")
	s.report(nil)
	if walked := slices.Sorted(maps.Keys(valid(s))); !slices.Equal(walked, slices.Sorted(slices.Values(api.Methods()))) {
		t.Errorf("the tests walk %q, not all methods", walked)
	}
}

// What stands before every method refuses with a reason.
func TestEveryMethodSaysWhyItsCallerIsRefused(t *testing.T) {
	s := newSecured(t)
	for _, method := range append(api.Methods(), "/simp.v1.PresenceService/None", "/none") {
		// Each call has a connection of its own: the server closes one that only
		// makes refused calls, and old idle ones when there are many.
		expect := func(what string, ctx context.Context, certificate string, want ...string) {
			t.Helper()
			conn := s.dial(t, s.dir, certificate)
			defer conn.Close()
			err := ask(ctx, conn, method, &emptypb.Empty{})
			if got := checkExplained(t, method+", "+what, err); !slices.Contains(want, got) {
				t.Errorf("%s, %s: %v, with the reason %q, want %q", method, what, err, got, want)
			}
		}
		expect("a token of nobody", withToken(t.Context(), "Bearer "+strings.Repeat("x", 40)), "", "CREDENTIALS_INVALID")
		expect("a node's certificate", t.Context(), "node-n1", "CREDENTIALS_INVALID")
		service := path.Dir(method)
		switch {
		case service == "/" || path.Base(method) == "None":
			expect("a known caller", t.Context(), "service-desk", "NO_METHOD")
		case strings.HasPrefix(service, "/grpc."), path.Base(method) == "CreateConsoleLink": // open to each who is known, or to all
		case service == "/simp.v1.MessageService":
			expect("another role", t.Context(), "service-desk", "NO_ROLE")
		default:
			expect("another role", t.Context(), "service-pager", "NO_ROLE")
		}
		if method != checkMethod && service != "/" && path.Base(method) != "None" {
			expect("nothing shown", t.Context(), "", "CREDENTIALS_MISSING")
			expect("no role", t.Context(), "service-idle", "NO_ROLE")
		}
	}
}

// rawCodec sends octets as they are, and reads nothing.
type rawCodec struct{}

func (rawCodec) Name() string                         { return "proto" }
func (rawCodec) Unmarshal(mem.BufferSlice, any) error { return nil }

func (rawCodec) Marshal(octets any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(octets.([]byte))}, nil
}

// What can't be read is refused with a reason.
func TestEveryMethodSaysWhatIsWrongWithARequest(t *testing.T) {
	s := newSite(t)
	s.appAccount("alice@example.com")
	s.invitation(nil)
	s.block("@spam.example")
	s.report(nil)
	large := &wrapperspb.BytesValue{Value: bytes.Repeat([]byte{1}, 1<<20)}
	garbage := &wrapperspb.BytesValue{Value: []byte("\xff\xff")} // as a field 1 of any other type
	for method, request := range valid(s) {
		if got := checkExplained(t, method+", too large", ask(t.Context(), s.conn, method, large)); got != "TOO_LARGE" {
			t.Errorf("%s: too large: %q", method, got)
		}
		err := ask(t.Context(), s.conn, method, []byte{0xff, 0xff}, grpc.ForceCodecV2(rawCodec{}))
		if checkExplained(t, method+", garbage", err); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: garbage: %v", method, err)
		}
		if err := ask(t.Context(), s.conn, method, garbage); err != nil {
			checkExplained(t, method+", another message", err)
		}
		if err := ask(t.Context(), s.conn, method, &emptypb.Empty{}); err != nil {
			checkExplained(t, method+", empty", err)
		}
		fresh := newSite(t)
		fresh.appAccount("alice@example.com")
		fresh.invitation(nil)
		fresh.block("@spam.example")
		fresh.report(nil)
		if err := ask(t.Context(), fresh.conn, method, request); err != nil {
			t.Errorf("%s: a valid request: %v", method, err)
		}
	}
	_, err := healthv1.NewHealthClient(s.conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: "none"})
	wantReason(t, err, codes.NotFound, "NO_SERVICE")
}

// What gRPC would refuse in words of its own is refused with a reason.
func TestRefusalsOfGRPCHaveReasons(t *testing.T) {
	s := newSecured(t)
	c := s.rawTLS(t, "service-desk")
	for _, x := range []struct {
		what, method string
		header       []string
		body         []byte
		code         codes.Code
		reason       string
	}{
		{"a method that does not exist, with a long deadline", "/simp.v1.PresenceService/None", []string{"grpc-timeout", "99999999S"}, nil, codes.PermissionDenied, "NO_METHOD"},
		{"a service that does not exist, with a long deadline", "/none.None/None", []string{"grpc-timeout", "99999999S"}, nil, codes.PermissionDenied, "NO_METHOD"},
		{"no slash", "none", nil, nil, codes.PermissionDenied, "NO_METHOD"},
		{"no time left", getMethod, []string{"grpc-timeout", "0m"}, nil, codes.DeadlineExceeded, "TIMED_OUT"},
		{"what is not compressed", getMethod, []string{"grpc-encoding", "gzip"}, []byte("\x01\x00\x00\x00\x03abc"), codes.InvalidArgument, ""},
		{"half of what is compressed", getMethod, []string{"grpc-encoding", "gzip"}, halfCompressed(t), codes.InvalidArgument, ""},
	} {
		id, _ := c.call(x.method, x.header...)
		c.write(func() error { return c.framer.WriteData(id, true, x.body) })
		code, err := c.wait(id), c.err(id)
		if got := checkExplained(t, x.what, err); code != x.code || got != x.reason {
			t.Errorf("%s: %v, %v, with the reason %q", x.what, code, err, got)
		}
	}
}

// halfCompressed returns a message of which only the first half was sent.
func halfCompressed(t *testing.T) []byte {
	var b bytes.Buffer
	w, err := encoding.GetCompressor("gzip").Compress(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("a request that is long enough")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	half := b.Bytes()[:b.Len()/2]
	return append([]byte{1, 0, 0, 0, byte(len(half))}, half...)
}

var errFault = errors.New("a fault")

// insideErrors lists errors of the cluster and the status that programs get for each.
var insideErrors = []struct {
	what  string
	cause error
	cut   bool // this node is out of touch
	want  string
	code  codes.Code
}{
	{"uncertain", errUncertain, false, "OUTCOME_UNKNOWN", codes.Unknown},
	{"uncertain, and cut off", errUncertain, true, "OUTCOME_UNKNOWN", codes.Unknown},
	{"not done", errNotDone, false, "UNAVAILABLE", codes.Unavailable},
	{"not done, and cut off", errNotDone, true, "CUT_OFF", codes.Unavailable},
	{"anything else", errors.New("disk full"), false, "UNAVAILABLE", codes.Unavailable},
	{"too late", context.DeadlineExceeded, false, "OUTCOME_UNKNOWN", codes.DeadlineExceeded},
	{"a fault", errFault, false, "FAULT", codes.Internal},
	{"400", protocol.Errorf(protocol.StatusBadRequest, "no"), false, "", codes.InvalidArgument},
	{"403", protocol.Errorf(protocol.StatusForbidden, "no"), false, "NO_ROLE", codes.PermissionDenied},
	{"404", protocol.Errorf(protocol.StatusUnknownAddress, "no"), false, "NO_NODE", codes.NotFound},
	{"409", protocol.Errorf(protocol.StatusWrongState, "no"), false, "REFUSED", codes.FailedPrecondition},
	{"429", protocol.Errorf(protocol.StatusSlowDown, "no"), false, "OVER_LIMIT", codes.ResourceExhausted},
	{"500", protocol.Errorf(500, "no"), false, "FAULT", codes.Internal},
	{"503", protocol.Errorf(protocol.StatusUnavailable, "no"), false, "UNAVAILABLE", codes.Unavailable},
}

// What the site's insides say is told with a reason.
func TestEveryMethodSaysWhatBecameOfIt(t *testing.T) {
	for _, c := range insideErrors {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.appAccount("alice@example.com")
			s.invitation(nil)
			s.block("@spam.example")
			s.report(nil)
			requests := valid(s)
			s.fail(c.cause, c.cut)
			told := 0
			for method, request := range requests {
				err := ask(t.Context(), s.conn, method, request)
				if err == nil {
					continue
				}
				told++
				got := checkExplained(t, method, err)
				switch {
				case got == "NOT_CONFIRMED" || strings.HasSuffix(method, "/KickSession") || strings.HasSuffix(method, "/Drain"):
				case c.cut && got == "CUT_OFF": // a query, at once
				case c.code == codes.DeadlineExceeded && (strings.HasSuffix(method, "/Status") || strings.HasSuffix(method, "/CreateConsoleLink")) || strings.HasSuffix(method, "/CheckDomain"):
				case strings.HasSuffix(method, "/Restore") && got == "PARTLY_DONE" && c.cause == errUncertain:
				case got != c.want || status.Code(err) != c.code:
					t.Errorf("%s: %v, with the reason %q, want %v and %q", method, err, got, c.code, c.want)
				}
			}
			if told < 15 {
				t.Errorf("only %d methods have failed", told)
			}
		})
	}
}

// fail has whatever a call asks of the site end with err.
func (s *testSite) fail(err error, cut bool) {
	s.directory.mu.Lock()
	s.directory.err, s.directory.confirm = err, err
	if cut {
		s.directory.contact = 1
	}
	s.directory.mu.Unlock()
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	s.nodes.err = err
}
