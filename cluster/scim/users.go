package scim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// user is a user as providers see it.
type user struct {
	Schemas  []string `json:"schemas"`
	ID       string   `json:"id"`
	UserName string   `json:"userName"`
	Active   bool     `json:"active"`
	Meta     meta     `json:"meta"`
}

type meta struct {
	ResourceType string `json:"resourceType"`
	Created      string `json:"created,omitempty"`
	Location     string `json:"location"`
}

// userOf returns an account as a user.
func userOf(r *http.Request, a *store.Account) *user {
	id := idOf(a)
	return &user{
		Schemas: []string{userSchema}, ID: id, UserName: a.Address.String(), Active: !a.Disabled,
		Meta: meta{ResourceType: "User", Created: a.Created.UTC().Format(time.RFC3339), Location: location(r, "/Users/"+url.PathEscape(id))},
	}
}

// location returns the URL of a resource, by the Host that the provider used.
func location(r *http.Request, path string) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host + Path + path
}

// idOf returns the ID of an account. Another account of the same address, made
// after this one was removed, has another one.
func idOf(a *store.Account) string {
	return base64.RawURLEncoding.EncodeToString([]byte(a.Address.String())) + "." + strconv.FormatInt(a.Created.UnixMilli(), 36)
}

// find returns the account whose ID the request names.
func (s *service) find(q *request) (*store.Account, error) {
	name, _, _ := strings.Cut(q.PathValue("id"), ".")
	ima, err := base64.RawURLEncoding.DecodeString(name)
	if err == nil {
		var a *store.Account
		if a, err = s.accounts.Get(q.Context(), q.token, string(ima)); err == nil && idOf(a) == q.PathValue("id") {
			return a, nil
		}
		if e := errorOf(err); err != nil && e.status != http.StatusBadRequest && e.status != http.StatusNotFound {
			return nil, err
		}
	}
	return nil, &scimError{status: http.StatusNotFound, detail: "there is no user with this id"}
}

// userRequest is what is read of a user that a provider sends. All else that it may
// have, such as names and e-mail addresses, is ignored.
type userRequest struct {
	UserName string `json:"userName"`
	Active   *flag  `json:"active"`
	Password string `json:"password"`
}

// flag is a boolean, which some providers send as "True" or "False".
type flag bool

// UnmarshalJSON reads true, "True" and "true", and likewise false.
func (f *flag) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseBool(strings.ToLower(strings.Trim(string(b), `"`)))
	if err != nil || len(strings.Trim(string(b), `"`)) < len("true") {
		return badRequest("invalidValue", "active must be true or false")
	}
	*f = flag(v)
	return nil
}

// decode reads the body of a request. Names of attributes have no case.
func decode(body []byte, to any) error {
	if err := json.Unmarshal(body, to); err != nil {
		if e, ok := err.(*scimError); ok {
			return e
		}
		return badRequest("invalidSyntax", "the request is not the JSON that is expected: "+err.Error())
	}
	return nil
}

func (s *service) create(q *request) (any, error) {
	var u userRequest
	if err := decode(q.body, &u); err != nil {
		return nil, err
	}
	if u.UserName == "" {
		return nil, badRequest("invalidValue", "userName is required: the user's address, like alice@example.com")
	}
	active := u.Active == nil || bool(*u.Active)
	a, err := s.accounts.Create(q.Context(), q.token, u.UserName, u.Password, active)
	if err != nil {
		return nil, err
	}
	return created{userOf(q.Request, a)}, nil
}

func (s *service) get(q *request) (any, error) {
	a, err := s.find(q)
	if err != nil {
		return nil, err
	}
	return userOf(q.Request, a), nil
}

func (s *service) replace(q *request) (any, error) {
	var u userRequest
	if err := decode(q.body, &u); err != nil {
		return nil, err
	}
	if u.UserName == "" {
		return nil, badRequest("invalidValue", "userName is required")
	}
	return s.apply(q, &change{active: (*bool)(u.Active), userName: u.UserName, password: u.Password})
}

func (s *service) remove(q *request) (any, error) {
	a, err := s.find(q)
	if err != nil {
		return nil, err
	}
	return nil, s.accounts.Delete(q.Context(), q.token, a.Address.String())
}

// change is what a request changes of a user.
type change struct {
	active             *bool
	userName, password string // "": not changed
}

// apply makes a change, and returns the user as it is then.
func (s *service) apply(q *request, c *change) (any, error) {
	a, err := s.find(q)
	if err != nil {
		return nil, err
	}
	ima := a.Address.String()
	if c.userName != "" && canonical(c.userName) != a.Address {
		return nil, badRequest("mutability", "userName can't be changed: it is the address of the account; delete the user and create another")
	}
	if err := s.applyTo(q, ima, c); err != nil {
		return nil, err
	}
	if a, err = s.accounts.Get(q.Context(), q.token, ima); err != nil {
		return nil, err
	}
	return userOf(q.Request, a), nil
}

// applyTo makes a change of an account. A user is kept out before anything else can
// fail, and also where the account is disabled: a leaver's is only until the
// directory accepts them again.
func (s *service) applyTo(q *request, ima string, c *change) error {
	if c.active != nil && !*c.active {
		if err := s.accounts.SetActive(q.Context(), q.token, ima, false); err != nil {
			return err
		}
	}
	if c.password != "" {
		if err := s.accounts.SetPassword(q.Context(), q.token, ima, c.password); err != nil {
			return err
		}
	}
	if c.active != nil && *c.active {
		return s.accounts.SetActive(q.Context(), q.token, ima, true)
	}
	return nil
}

// canonical returns the address that a userName stands for; zero if it is none.
func canonical(userName string) protocol.Address {
	a, err := protocol.ParseAddress(userName)
	if err != nil {
		return protocol.Address{}
	}
	folded, _ := a.PRECISFold()
	return folded
}

// How many users an answer has.
const (
	defaultCount = 100
	maxCount     = 200
)

// listResponse is a page of a list.
type listResponse struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	StartIndex   int      `json:"startIndex"`
	ItemsPerPage int      `json:"itemsPerPage"`
	Resources    []any    `json:"Resources"`
}

func newListResponse(start int, all ...any) *listResponse {
	if all == nil {
		all = []any{}
	}
	return &listResponse{Schemas: []string{listSchema}, TotalResults: len(all), StartIndex: start, ItemsPerPage: len(all), Resources: all}
}

func (s *service) list(q *request) (any, error) {
	start, err := number(q, "startIndex", 1)
	if err != nil {
		return nil, err
	}
	count, err := number(q, "count", defaultCount)
	if err != nil {
		return nil, err
	}
	start, count = max(start, 1), min(max(count, 0), maxCount)
	if filter := q.URL.Query().Get("filter"); filter != "" {
		return s.findByName(q, filter, start, count)
	}
	total := 0
	var page []any
	err = s.accounts.List(q.Context(), q.token, func(a *store.Account) bool {
		if total++; total >= start && len(page) < count {
			page = append(page, userOf(q.Request, a))
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	answer := newListResponse(start, page...)
	answer.TotalResults = total
	return answer, nil
}

// findByName answers a list with a filter.
func (s *service) findByName(q *request, filter string, start, count int) (any, error) {
	name, err := parseFilter(filter)
	if err != nil {
		return nil, err
	}
	answer := newListResponse(start)
	a, err := s.accounts.Get(q.Context(), q.token, name)
	if e := errorOf(err); err != nil {
		if e.status == http.StatusNotFound || e.status == http.StatusBadRequest { // nobody can have that name
			return answer, nil
		}
		return nil, err
	}
	if answer.TotalResults = 1; start == 1 && count > 0 {
		answer.Resources, answer.ItemsPerPage = []any{userOf(q.Request, a)}, 1
	}
	return answer, nil
}

// parseFilter reads the one filter that is supported: userName eq "…".
func parseFilter(filter string) (name string, err error) {
	attribute, rest, _ := strings.Cut(strings.TrimSpace(filter), " ")
	operator, value, _ := strings.Cut(strings.TrimSpace(rest), " ")
	attribute = strings.TrimPrefix(strings.ToLower(attribute), strings.ToLower(userSchema)+":")
	if attribute != "username" || !strings.EqualFold(operator, "eq") || json.Unmarshal([]byte(strings.TrimSpace(value)), &name) != nil {
		return "", badRequest("invalidFilter", fmt.Sprintf("the filter %.200q is not supported: only userName eq \"alice@example.com\" is", filter))
	}
	return name, nil
}

// number returns a parameter of the query that is a number.
func number(q *request, name string, standard int) (int, error) {
	value := q.URL.Query().Get(name)
	if value == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, badRequest("invalidValue", name+" must be a number")
	}
	return n, nil
}
