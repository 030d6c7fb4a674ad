// Package scim lets identity providers, such as Entra ID and Okta, create, deactivate
// and remove accounts by SCIM 2.0 (RFC 7643 and RFC 7644). A user's userName is the
// address. Nothing but the address and whether the user is active is stored.
package scim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/store"
)

// Accounts keeps the accounts of the site for whoever has a token, whose roles it
// checks, and writes down what is changed. Errors are statuses of gRPC.
type Accounts interface {
	Authorize(ctx context.Context, token string) error
	// Create makes an account, for which nobody knows a password if none is given.
	Create(ctx context.Context, token, ima, password string, active bool) (*store.Account, error)
	SetActive(ctx context.Context, token, ima string, active bool) error
	SetPassword(ctx context.Context, token, ima, password string) error
	Delete(ctx context.Context, token, ima string) error
	Get(ctx context.Context, token, ima string) (*store.Account, error)
	// List calls yield for each account in the order of the addresses, until it
	// returns false.
	List(ctx context.Context, token string, yield func(*store.Account) bool) error
}

// Path is where the service is; all its resources are below.
const Path = "/scim/v2"

const (
	contentType = "application/scim+json"
	maxBody     = 64 << 10
)

// NewHandler returns the handler of everything below Path.
func NewHandler(accounts Accounts) http.Handler {
	s := &service{accounts}
	mux := http.NewServeMux()
	handle := func(pattern string, h func(*request) (any, error)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+Path+path, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, h) })
	}
	handle("POST /Users", s.create)
	handle("GET /Users", s.list)
	handle("GET /Users/{id}", s.get)
	handle("PUT /Users/{id}", s.replace)
	handle("PATCH /Users/{id}", s.patch)
	handle("DELETE /Users/{id}", s.remove)
	handle("GET /ServiceProviderConfig", s.serviceProviderConfig)
	handle("GET /ResourceTypes", s.resourceTypes)
	handle("GET /ResourceTypes/{id}", s.resourceType)
	handle("GET /Schemas", s.schemas)
	handle("GET /Schemas/{id}", s.schema)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.serve(w, r, func(*request) (any, error) {
			return nil, &scimError{status: http.StatusNotFound, detail: "there is no such resource, or it can't be used like that; there are Users, ServiceProviderConfig, ResourceTypes and Schemas below " + Path}
		})
	})
	return mux
}

type service struct{ accounts Accounts }

// request is a request with its token and its body.
type request struct {
	*http.Request
	token string
	body  []byte
}

// created is the answer to a request that has made a user.
type created struct{ *user }

// serve answers a request with what h returns: an object, nil for nothing, or an
// error.
func (s *service) serve(w http.ResponseWriter, r *http.Request, h func(*request) (any, error)) {
	q := &request{Request: r, token: bearerToken(r)}
	err := s.accounts.Authorize(r.Context(), q.token) // before anything is read
	if err == nil {
		q.body, err = readBody(w, r)
	}
	var answer any
	if err == nil {
		answer, err = h(q)
	}
	code := http.StatusOK
	switch made, isNew := answer.(created); {
	case err != nil:
		e := errorOf(err)
		code, answer = e.status, e.message()
		if code == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.Header().Set("Connection", "close") // whoever has no token keeps no connection
		}
	case isNew:
		code, answer = http.StatusCreated, made.user
		w.Header().Set("Location", made.Meta.Location)
	case answer == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // it fails if nobody reads it
}

// bearerToken returns the token of a request; "" if it has none, or several.
func bearerToken(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// readBody returns the body of a request that has one.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Method != http.MethodPost && r.Method != http.MethodPut && r.Method != http.MethodPatch {
		return nil, nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != contentType && kind != "application/json" {
		return nil, &scimError{status: http.StatusUnsupportedMediaType, detail: "the Content-Type must be " + contentType + " or application/json"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &scimError{status: http.StatusRequestEntityTooLarge, detail: "the request has more than 65536 octets"}
	}
	if err != nil {
		return nil, &scimError{status: http.StatusBadRequest, kind: "invalidSyntax", detail: "the request did not arrive whole"}
	}
	return body, nil
}

// scimError is an error as RFC 7644, section 3.12 has it.
type scimError struct {
	status int
	kind   string // the scimType; may be empty
	detail string
}

func (e *scimError) Error() string { return e.detail }

func badRequest(kind, detail string) error {
	return &scimError{status: http.StatusBadRequest, kind: kind, detail: detail}
}

// statuses are the answers to errors of Accounts; others are 500.
var statuses = map[codes.Code]struct {
	status int
	kind   string
}{
	codes.Unauthenticated:    {http.StatusUnauthorized, ""},
	codes.PermissionDenied:   {http.StatusForbidden, ""},
	codes.NotFound:           {http.StatusNotFound, ""},
	codes.AlreadyExists:      {http.StatusConflict, "uniqueness"},
	codes.InvalidArgument:    {http.StatusBadRequest, "invalidValue"},
	codes.FailedPrecondition: {http.StatusConflict, "mutability"},
	codes.ResourceExhausted:  {http.StatusTooManyRequests, ""},
	codes.Unavailable:        {http.StatusServiceUnavailable, ""},
	codes.DeadlineExceeded:   {http.StatusServiceUnavailable, ""},
	codes.Unknown:            {http.StatusServiceUnavailable, ""}, // it may have been done; the provider looks
}

func errorOf(err error) *scimError {
	if e, ok := errors.AsType[*scimError](err); ok {
		return e
	}
	known, ok := statuses[status.Code(err)]
	if !ok {
		known.status = http.StatusInternalServerError
	}
	return &scimError{known.status, known.kind, status.Convert(err).Message()}
}
