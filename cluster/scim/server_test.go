package scim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/protocol"
	"simpd/store"
)

// fakeAccounts is a site of example.com whose token is "right".
type fakeAccounts struct {
	byIMA      map[string]*store.Account
	clock      int64
	done       []string
	broken     error
	noPassword error // of SetPassword
}

func (f *fakeAccounts) Authorize(_ context.Context, token string) error {
	switch token {
	case "right":
		return f.broken
	case "reader":
		return status.Error(codes.PermissionDenied, "reader lacks the role account:admin")
	}
	return status.Error(codes.Unauthenticated, "a bearer token is required")
}

func (f *fakeAccounts) find(ima string) (*store.Account, error) {
	user := canonical(ima)
	if user.Domain() != "example.com" {
		return nil, status.Error(codes.InvalidArgument, "ima: it is not a user of this site")
	}
	if a := f.byIMA[user.String()]; a != nil {
		return a, nil
	}
	return nil, status.Error(codes.NotFound, "there is no account "+user.String())
}

func (f *fakeAccounts) Create(_ context.Context, _, ima, password string, active bool) (*store.Account, error) {
	if _, err := f.find(ima); status.Code(err) == codes.InvalidArgument {
		return nil, err
	} else if err == nil {
		return nil, status.Error(codes.AlreadyExists, ima+" has an account already")
	}
	f.clock += 1000
	a := &store.Account{Address: canonical(ima), Disabled: !active, Created: time.UnixMilli(1_800_000_000_000 + f.clock)}
	f.byIMA[a.Address.String()] = a
	f.done = append(f.done, fmt.Sprintf("create %s %q %v", a.Address, password, active))
	return a, nil
}

func (f *fakeAccounts) change(ima, what string, do func(*store.Account)) error {
	a, err := f.find(ima)
	if err == nil {
		do(a)
		f.done = append(f.done, what+" "+ima)
	}
	return err
}

func (f *fakeAccounts) SetActive(_ context.Context, _, ima string, active bool) error {
	return f.change(ima, map[bool]string{true: "enable", false: "disable"}[active], func(a *store.Account) { a.Disabled = !active })
}

func (f *fakeAccounts) SetPassword(_ context.Context, _, ima, password string) error {
	if f.noPassword != nil {
		return f.noPassword
	}
	return f.change(ima, "password "+password, func(*store.Account) {})
}

func (f *fakeAccounts) Delete(_ context.Context, _, ima string) error {
	return f.change(ima, "delete", func(a *store.Account) { delete(f.byIMA, a.Address.String()) })
}

func (f *fakeAccounts) Get(_ context.Context, _, ima string) (*store.Account, error) {
	return f.find(ima)
}

func (f *fakeAccounts) List(_ context.Context, _ string, yield func(*store.Account) bool) error {
	var all []protocol.Address
	for _, a := range f.byIMA {
		all = append(all, a.Address)
	}
	slices.SortFunc(all, protocol.Address.Compare)
	for _, a := range all {
		if !yield(f.byIMA[a.String()]) {
			break
		}
	}
	return nil
}

// client calls the service.
type client struct {
	*testing.T
	accounts *fakeAccounts
	handler  http.Handler
	token    string
	kind     string // of the content
}

func newClient(t *testing.T) *client {
	f := &fakeAccounts{byIMA: map[string]*store.Account{}}
	return &client{t, f, NewHandler(f), "right", contentType}
}

func (c *client) call(method, path, body string) (int, http.Header, map[string]any) {
	c.Helper()
	r := httptest.NewRequest(method, "https://scim.example.com"+path, strings.NewReader(body))
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != "" {
		r.Header.Set("Content-Type", c.kind)
	}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	octets, _ := io.ReadAll(w.Body)
	var answer map[string]any
	if len(octets) > 0 && json.Unmarshal(octets, &answer) != nil {
		c.Errorf("%s %s: %s", method, path, octets)
	}
	if kind := w.Header().Get("Content-Type"); len(octets) > 0 && kind != contentType {
		c.Errorf("%s %s: the content is %q", method, path, kind)
	}
	return w.Code, w.Header(), answer
}

// TestRequestsLikeThoseOfProviders plays testdata/*.http: requests in the form
// that Entra ID and Okta document, and what is answered. {id} stands for the ID of the user that was answered last.
func TestRequestsLikeThoseOfProviders(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.http")
	if len(files) < 2 {
		t.Fatal("the requests are missing")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c, id := newClient(t), ""
			for scene := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n### ") {
				head, rest, _ := strings.Cut(strings.TrimPrefix(scene, "### "), "\n")
				request, wanted, _ := strings.Cut(rest, "\n>>> ")
				line, body, _ := strings.Cut(request, "\n")
				method, path, _ := strings.Cut(line, " ")
				code, _, answer := c.call(method, strings.ReplaceAll(path, "{id}", id), strings.TrimSpace(body))
				wantCode, wantBody, _ := strings.Cut(wanted, "\n")
				if got, ok := answer["id"].(string); ok {
					id = got
				}
				if fmt.Sprint(code) != strings.TrimSpace(wantCode) {
					t.Errorf("%s: %d %v, want %s", head, code, answer, wantCode)
				}
				compareJSON(t, head, answer, strings.ReplaceAll(wantBody, "{id}", id))
			}
		})
	}
}

// compareJSON checks that an answer has all that is wanted.
func compareJSON(t *testing.T, what string, answer map[string]any, wanted string) {
	t.Helper()
	if strings.TrimSpace(wanted) == "" {
		return
	}
	var want map[string]any
	if err := json.Unmarshal([]byte(wanted), &want); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for name, value := range want {
		got, _ := json.Marshal(answer[name])
		w, _ := json.Marshal(value)
		if string(got) != string(w) {
			t.Errorf("%s: %s is %s, want %s", what, name, got, w)
		}
	}
}

// Whoever has no right token learns nothing, and nothing of theirs is read.
func TestTokens(t *testing.T) {
	c := newClient(t)
	for token, want := range map[string]int{"": 401, "wrong": 401, "reader": 403} {
		c.token = token
		for _, path := range []string{"/Users", "/Users/x", "/ServiceProviderConfig", "/Schemas", "/nothing"} {
			code, header, answer := c.call("GET", Path+path, "")
			if code != want || answer["status"] != fmt.Sprint(want) || (want == 401) != (header.Get("WWW-Authenticate") == "Bearer") || (want == 401) != (header.Get("Connection") == "close") {
				t.Errorf("%q, %s: %d %v", token, path, code, answer)
			}
		}
		if code, _, _ := c.call("POST", Path+"/Users", `{"userName":"eve@example.com"}`); code != want {
			t.Errorf("%q makes a user: %d", token, code)
		}
	}
	r := httptest.NewRequest("GET", Path+"/Users", nil)
	r.Header["Authorization"] = []string{"Bearer right", "Bearer right"}
	w := httptest.NewRecorder()
	if c.handler.ServeHTTP(w, r); w.Code != 401 || len(c.accounts.done) > 0 {
		t.Errorf("two authorizations: %d; %v", w.Code, c.accounts.done)
	}
}

func TestWrongRequests(t *testing.T) {
	c := newClient(t)
	_, _, alice := c.call("POST", Path+"/Users", `{"userName":"alice@example.com"}`)
	user := Path + "/Users/" + alice["id"].(string)
	for _, tt := range []struct {
		method, path, body string
		code               int
		kind               string
	}{
		{"POST", Path + "/Users", `{"userName":"Alice@Example.com"}`, 409, "uniqueness"},
		{"POST", Path + "/Users", `{"userName":"bob@elsewhere.org"}`, 400, "invalidValue"},
		{"POST", Path + "/Users", `{"active":true}`, 400, "invalidValue"},
		{"POST", Path + "/Users", `{"userName":"bob@example.com","active":"maybe"}`, 400, "invalidValue"},
		{"POST", Path + "/Users", `{"userName":`, 400, "invalidSyntax"},
		{"POST", Path + "/Users", `{"userName":"` + strings.Repeat("x", maxBody) + `"}`, 413, ""},
		{"PUT", user, `{"userName":"bob@example.com"}`, 400, "mutability"},
		{"PUT", user, `{}`, 400, "invalidValue"},
		{"PATCH", user, `{"Operations":[]}`, 400, "invalidSyntax"},
		{"PATCH", user, `{"Operations":[{"op":"move","path":"active","value":true}]}`, 400, "invalidSyntax"},
		{"PATCH", user, `{"Operations":[{"op":"remove"}]}`, 400, "noTarget"},
		{"PATCH", user, `{"Operations":[{"op":"remove","path":"active"}]}`, 400, "mutability"},
		{"PATCH", user, `{"Operations":[{"op":"replace","value":"x"}]}`, 400, "invalidValue"},
		{"PATCH", user, `{"Operations":[{"op":"replace","path":"active","value":"no"}]}`, 400, "invalidValue"},
		{"PATCH", user, `{"Operations":[{"op":"replace","path":"active"}]}`, 400, "invalidValue"},
		{"PATCH", user, `{"Operations":[{"op":"replace","path":"userName","value":"bob@example.com"}]}`, 400, "mutability"},
		{"GET", Path + "/Users?filter=displayName+eq+%22x%22", "", 400, "invalidFilter"},
		{"GET", Path + "/Users?filter=userName+sw+%22x%22", "", 400, "invalidFilter"},
		{"GET", Path + "/Users?startIndex=x", "", 400, "invalidValue"},
		{"GET", Path + "/Users/unknown", "", 404, ""},
		{"GET", user + "0", "", 404, ""},
		{"DELETE", Path + "/Users/YWxpY2VAZXhhbXBsZS5jb20.1", "", 404, ""},
		{"GET", Path + "/Groups", "", 404, ""},
		{"DELETE", Path + "/Users", "", 404, ""},
	} {
		code, _, answer := c.call(tt.method, tt.path, tt.body)
		kind, _ := answer["scimType"].(string)
		if code != tt.code || kind != tt.kind || answer["status"] != fmt.Sprint(tt.code) || answer["detail"] == "" {
			t.Errorf("%s %s %.60s: %d %v, want %d %s", tt.method, tt.path, tt.body, code, answer, tt.code, tt.kind)
		}
	}
	c.kind = "text/plain"
	if code, _, answer := c.call("POST", Path+"/Users", `{"userName":"bob@example.com"}`); code != 415 {
		t.Errorf("text/plain: %d %v", code, answer)
	}
	if got := fmt.Sprint(c.accounts.done); got != `[create alice@example.com "" true]` {
		t.Errorf("done: %s", got)
	}
	c.accounts.broken = status.Error(codes.Unavailable, "this node has no contact to the majority; try another node")
	if code, _, answer := c.call("GET", user, ""); code != 503 {
		t.Errorf("cut off: %d %v", code, answer)
	}
}

// Another account of the same address is another user.
func TestIDsAreNotUsedAgain(t *testing.T) {
	c := newClient(t)
	_, _, first := c.call("POST", Path+"/Users", `{"userName":"alice@example.com"}`)
	user := Path + "/Users/" + first["id"].(string)
	if code, _, _ := c.call("DELETE", user, ""); code != 204 {
		t.Errorf("deleted: %d", code)
	}
	_, _, second := c.call("POST", Path+"/Users", `{"userName":"alice@example.com"}`)
	if code, _, _ := c.call("GET", user, ""); code != 404 || first["id"] == second["id"] {
		t.Errorf("the ID %v is used again: %d", first["id"], code)
	}
}

// Who is not active any more is kept out although the new password is refused, and
// although the account is disabled: a leaver's is enabled by the next login.
func TestInactiveUsersAreAlwaysDisabled(t *testing.T) {
	c := newClient(t)
	_, _, alice := c.call("POST", Path+"/Users", `{"userName":"alice@example.com"}`)
	user := Path + "/Users/" + alice["id"].(string)
	c.accounts.done = nil
	c.accounts.noPassword = status.Error(codes.InvalidArgument, "credential.password: it is too long")
	code, _, _ := c.call("PUT", user, `{"userName":"alice@example.com","password":"x","active":false}`)
	if got := fmt.Sprint(c.accounts.done); code != 400 || got != "[disable alice@example.com]" {
		t.Errorf("with a bad password: %d, done: %s", code, got)
	}
	c.accounts.noPassword = nil
	for body, want := range map[string]string{
		`{"Operations":[{"op":"replace","path":"active","value":false}]}`:                       "[disable alice@example.com]",
		`{"Operations":[{"op":"replace","value":{"active":false,"password":"long enough 1"}}]}`: "[disable alice@example.com password long enough 1 alice@example.com]",
		`{"Operations":[{"op":"replace","value":{"active":true,"password":"long enough 1"}}]}`:  "[password long enough 1 alice@example.com enable alice@example.com]",
	} {
		c.accounts.byIMA["alice@example.com"].Disabled, c.accounts.done = true, nil
		code, _, _ := c.call("PATCH", user, body)
		if got := fmt.Sprint(c.accounts.done); code != 200 || got != want {
			t.Errorf("%s: %d, done: %s", body, code, got)
		}
	}
}

func TestLists(t *testing.T) {
	c := newClient(t)
	for i := range 250 {
		c.call("POST", Path+"/Users", fmt.Sprintf(`{"userName":"u%03d@example.com"}`, i))
	}
	for query, want := range map[string]string{
		"": "250 1 100 u000", "?startIndex=1&count=2": "250 1 2 u000", "?startIndex=249&count=100": "250 249 2 u248", "?startIndex=0&count=-1": "250 1 0 ",
		"?count=1000": "250 1 200 u000", "?startIndex=300": "250 300 0 ", "?filter=userName+eq+%22U007@example.com%22": "1 1 1 u007",
		"?filter=USERNAME+Eq+%22nobody@example.com%22": "0 1 0 ", "?filter=userName+eq+%22no+address%22": "0 1 0 ", "?filter=userName+eq+%22u007@example.com%22&count=0": "1 1 0 ",
	} {
		_, _, answer := c.call("GET", Path+"/Users"+query, "")
		all, _ := answer["Resources"].([]any)
		first := ""
		if len(all) > 0 {
			first, _, _ = strings.Cut(all[0].(map[string]any)["userName"].(string), "@")
		}
		if got := fmt.Sprintf("%v %v %v %s", answer["totalResults"], answer["startIndex"], answer["itemsPerPage"], first); got != want || fmt.Sprint(answer["itemsPerPage"]) != fmt.Sprint(len(all)) {
			t.Errorf("%s: %s (%d users), want %s", query, got, len(all), want)
		}
	}
}

func TestDiscovery(t *testing.T) {
	c := newClient(t)
	for path, want := range map[string]string{
		"/ServiceProviderConfig": configSchema, "/ResourceTypes": listSchema, "/ResourceTypes/User": resourceTypeSchema,
		"/Schemas": listSchema, "/Schemas/" + userSchema: schemaSchema,
	} {
		code, _, answer := c.call("GET", Path+path, "")
		if code != 200 || fmt.Sprint(answer["schemas"]) != "["+want+"]" {
			t.Errorf("%s: %d %v", path, code, answer)
		}
	}
	for _, path := range []string{"/ResourceTypes/Group", "/Schemas/x"} {
		if code, _, _ := c.call("GET", Path+path, ""); code != 404 {
			t.Errorf("%s: %d", path, code)
		}
	}
}
