package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// request is a request that may be answered.
type request struct {
	console *Console
	w       http.ResponseWriter
	r       *http.Request
	route   *route
	session *ticket // nil on a route that is open
}

// Limits of a request.
const (
	maxBody     = 16 << 10         // octets of what a page sends
	bodyTimeout = 10 * time.Second // for it to arrive
	answerLimit = 2 * time.Minute  // for an answer to be made and taken
)

// authorize returns nil if the roles of the session allow the route.
func (q *request) authorize() error {
	if q.route.access == anyRole {
		return nil
	}
	return q.console.Programs.Authorize(q.session.identity(), q.route.method)
}

// may reports whether the session may call a method of the services.
func (q *request) may(method string) bool {
	return q.console.Programs.Authorize(q.session.identity(), method) == nil
}

// services returns a connection for calls in the name of the session.
func (q *request) services() grpc.ClientConnInterface {
	return q.console.Programs.Local(q.session.identity())
}

// query returns a parameter of the address.
func (q *request) query(name string) string { return q.r.URL.Query().Get(name) }

// decode reads the request of a method from the body.
func (q *request) decode(m proto.Message) error {
	if mediaType, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type")); mediaType != "application/json" {
		return status.Error(codes.InvalidArgument, "the body must be application/json")
	}
	body, err := q.readBody(maxBody)
	if err != nil {
		return status.Error(codes.InvalidArgument, "the body could not be read, or is too long")
	}
	if err := protojson.Unmarshal(body, m); err != nil {
		return status.Error(codes.InvalidArgument, "the body is not a request of this action")
	}
	return nil
}

// readBody reads the body, which has to arrive in time.
func (q *request) readBody(most int64) ([]byte, error) {
	out := http.NewResponseController(q.w)
	// A writer without deadlines is a test's.
	_ = out.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = out.SetReadDeadline(time.Time{}) }()
	return io.ReadAll(http.MaxBytesReader(q.w, q.r.Body, most))
}

// answerMessage sends a message as JSON.
func (q *request) answerMessage(m proto.Message) {
	raw, err := marshal(m)
	if err != nil {
		refuse(q.w, http.StatusInternalServerError, "the answer could not be made")
		return
	}
	q.answer(raw)
}

// wantsEvents reports whether a browser asks for server-sent events.
func (q *request) wantsEvents() bool {
	return strings.Contains(q.r.Header.Get("Accept"), "text/event-stream")
}

// answer sends a value as JSON.
func (q *request) answer(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		refuse(q.w, http.StatusInternalServerError, "the answer could not be made")
		return
	}
	q.w.Header().Set("Content-Type", "application/json")
	_, _ = q.w.Write(b) // the browser may be gone
}

// marshal returns a message as JSON with the names of the .proto files.
func marshal(m proto.Message) (json.RawMessage, error) {
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %w", m, err)
	}
	return b, nil
}

// refuse answers with a sentence.
func refuse(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text}) // the browser may be gone
}

// refuseCall answers with the error of a call.
func refuseCall(w http.ResponseWriter, err error) {
	s := status.Convert(err)
	refuse(w, httpStatus(s.Code()), s.Message())
}

// refuseAction answers with the error of a call that is not made, and records it
// if the call would change something.
func (q *request) refuseAction(err error) {
	if q.r.Method == http.MethodPost && q.route != nil && q.route.method != "" {
		q.console.Programs.LogRefusal(q.session.identity(), q.route.method, err)
	}
	refuseCall(q.w, err)
}

// httpStatus returns the status of HTTP that comes nearest to a code of gRPC.
func httpStatus(c codes.Code) int {
	switch c {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.Unauthenticated, codes.PermissionDenied:
		return http.StatusForbidden // who has signed in lacks the role
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.FailedPrecondition, codes.Aborted:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// reader returns what a page shows, for the time of one look.
type reader func(ctx context.Context, q *request) (any, error)

// hostOf returns the host of a Host header, without its port.
func hostOf(hostport string) string {
	u := url.URL{Host: hostport}
	return u.Hostname()
}
