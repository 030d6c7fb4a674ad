package console

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"simpd/cluster/doctor"
	simpv1 "simpd/proto/simp/v1"
)

// statusPatience is how long the nodes have to tell how they are. One that is
// silent must not hold up what is shown of the others.
const statusPatience = 600 * time.Millisecond

// sessionView says who has signed in, and where the page can go on.
type sessionView struct {
	Name    string          `json:"name"`
	Roles   []string        `json:"roles"`
	Node    string          `json:"node"`
	Site    string          `json:"site"`
	Version string          `json:"version"` // of the page's files
	May     map[string]bool `json:"may"`     // by route
	Others  []otherConsole  `json:"others"`
}

// otherConsole is the console of another node, and a link that goes on there. It
// can be used once.
type otherConsole struct {
	Node string `json:"node"`
	Link string `json:"link"`
}

// getSession answers who has signed in. A page asks it again and again: so the
// session stays, and the links to other nodes are new.
func getSession(q *request) {
	c := q.console
	v := sessionView{Name: q.session.name, Roles: q.session.roles, Node: c.NodeID, Site: c.Site, Version: c.version, May: map[string]bool{}}
	for path, verbs := range c.routes {
		for _, r := range verbs {
			if r.access == byMethod {
				v.May[path] = q.may(r.method)
			}
		}
	}
	if latest := c.samples.status(); latest != nil {
		for _, n := range latest.Node {
			if n.Id != c.NodeID && n.ConsoleAddress != "" {
				v.Others = append(v.Others, otherConsole{n.Id, q.linkTo(n)})
			}
		}
	}
	q.answer(v)
}

// linkTo returns a link to the console of another node. At the same host, the
// browser has the cookie already: cookies do not depend on the port.
func (q *request) linkTo(n *simpv1.NodeStatus) string {
	if u, err := url.Parse(n.ConsoleAddress); err == nil && u.Hostname() == hostOf(q.r.Host) {
		return n.ConsoleAddress + "/"
	}
	return q.console.handOver(q.session, n.Id, n.ConsoleAddress)
}

// siteView is the page of the site.
type siteView struct {
	Status   json.RawMessage          `json:"status"`
	Findings []doctor.Finding         `json:"findings"`
	Drains   map[string]drainProgress `json:"drains,omitempty"`
}

func readSite(ctx context.Context, q *request) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	resp, err := simpv1.NewClusterServiceClient(q.services()).Status(ctx, &simpv1.StatusRequest{})
	if err != nil {
		return nil, err
	}
	raw, err := marshal(resp)
	return siteView{raw, doctor.Examine(resp, time.Now()), q.console.drains.list()}, err
}

// pageOfUsers is how many users a page shows.
const pageOfUsers = 50

// userLine is a user in the list.
type userLine struct {
	Account  json.RawMessage `json:"account"`
	Presence json.RawMessage `json:"presence,omitempty"` // absent: this role may not see it
}

// usersView is one page of the list of users.
type usersView struct {
	Users []userLine `json:"users"`
	More  bool       `json:"more"`
}

func readUsers(ctx context.Context, q *request) (any, error) {
	list := &simpv1.ListAccountsRequest{Prefix: strings.TrimSpace(q.query("prefix")), After: q.query("after"), PageSize: pageOfUsers + 1, NoToken: true}
	resp, err := simpv1.NewAccountServiceClient(q.services()).List(ctx, list)
	if err != nil {
		return nil, err
	}
	v := usersView{Users: []userLine{}, More: len(resp.Account) > pageOfUsers}
	accounts := resp.Account[:min(len(resp.Account), pageOfUsers)]
	presence, err := q.presenceOf(ctx, accounts)
	if err != nil {
		return nil, err
	}
	for i, a := range accounts {
		line := userLine{}
		if line.Account, err = marshal(withoutSecrets(a)); err != nil {
			return nil, err
		}
		if presence != nil {
			if line.Presence, err = marshal(presence[i]); err != nil {
				return nil, err
			}
		}
		v.Users = append(v.Users, line)
	}
	return v, nil
}

// withoutSecrets returns an account without what a browser has no use for.
func withoutSecrets(a *simpv1.Account) *simpv1.Account {
	a = proto.CloneOf(a)
	a.Salt, a.Iterations = nil, 0
	return a
}

// presenceOf returns the presence of each account; nil if the role may not see
// it.
func (q *request) presenceOf(ctx context.Context, accounts []*simpv1.Account) ([]*simpv1.Presence, error) {
	if len(accounts) == 0 || !q.may(simpv1.PresenceService_Get_FullMethodName) {
		return nil, nil
	}
	r := &simpv1.GetRequest{}
	for _, a := range accounts {
		r.Ima = append(r.Ima, a.Ima)
	}
	resp, err := simpv1.NewPresenceServiceClient(q.services()).Get(ctx, r)
	if err != nil {
		return nil, err
	}
	return resp.Presence, nil
}

// userView is the page of one user. What the role may not see is absent.
type userView struct {
	Account      json.RawMessage   `json:"account"`
	Presence     json.RawMessage   `json:"presence,omitempty"`
	Sessions     []json.RawMessage `json:"sessions"` // null: this role may not see them
	AppPasswords []json.RawMessage `json:"app_passwords"`
	Keys         []json.RawMessage `json:"keys"`
}

func readUser(ctx context.Context, q *request) (any, error) {
	ima := q.query("ima")
	accounts := simpv1.NewAccountServiceClient(q.services())
	account, err := accounts.Get(ctx, &simpv1.GetAccountRequest{Ima: ima})
	if err != nil {
		return nil, err
	}
	apps, err := accounts.ListAppPasswords(ctx, &simpv1.ListAppPasswordsRequest{Ima: ima})
	if err != nil {
		return nil, err
	}
	keys, err := accounts.ListKeys(ctx, &simpv1.ListKeysRequest{Ima: ima})
	if err != nil {
		return nil, err
	}
	presence, err := q.presenceOf(ctx, []*simpv1.Account{account.Account})
	if err != nil {
		return nil, err
	}
	sessions, err := q.sessionsOf(ctx, ima)
	if err != nil {
		return nil, err
	}
	return newUserView(account.Account, presence, sessions, apps.AppPassword, keys.Key)
}

// sessionsOf returns a user's sessions; nil if the role may not see them.
func (q *request) sessionsOf(ctx context.Context, ima string) ([]*simpv1.UserSession, error) {
	if !q.may(simpv1.ClusterService_ListSessions_FullMethodName) {
		return nil, nil
	}
	resp, err := simpv1.NewClusterServiceClient(q.services()).ListSessions(ctx, &simpv1.ListSessionsRequest{Ima: ima})
	return append([]*simpv1.UserSession{}, resp.GetSession()...), err
}

func newUserView(a *simpv1.Account, presence []*simpv1.Presence, sessions []*simpv1.UserSession, apps []*simpv1.AppPassword, keys []*simpv1.Key) (v userView, err error) {
	if v.Account, err = marshal(withoutSecrets(a)); err != nil {
		return v, err
	}
	if len(presence) > 0 {
		if v.Presence, err = marshal(presence[0]); err != nil {
			return v, err
		}
	}
	if sessions != nil {
		if v.Sessions, err = marshalAll(sessions); err != nil {
			return v, err
		}
	}
	if v.AppPasswords, err = marshalAll(apps); err != nil {
		return v, err
	}
	v.Keys, err = marshalAll(keys)
	return v, err
}

// marshalAll returns messages as JSON.
func marshalAll[M proto.Message](all []M) ([]json.RawMessage, error) {
	list := make([]json.RawMessage, 0, len(all))
	for _, m := range all {
		raw, err := marshal(m)
		if err != nil {
			return nil, err
		}
		list = append(list, raw)
	}
	return list, nil
}

// AuditRecord is a record of the audit log, and the node that has it.
type AuditRecord struct {
	Node    string `json:"node"`
	TimeMs  int64  `json:"time"`
	Who     string `json:"who"`
	Via     string `json:"via,omitempty"`
	What    string `json:"what"`
	Whom    string `json:"whom"`
	Outcome string `json:"outcome"`
	Why     string `json:"why,omitempty"`
}

// Domain is how a node stands with another site.
type Domain struct {
	Node     string `json:"node"`
	Own      string `json:"own"`
	Domain   string `json:"domain"`
	State    string `json:"state"` // connected, connecting, failing or idle
	SinceMs  int64  `json:"since,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Status   uint32 `json:"status,omitempty"`
	Failures uint32 `json:"failures,omitempty"`
	// NextMs is when the next attempt is due, in whole seconds; 0: none is.
	NextMs  int64  `json:"next,omitempty"`
	Waiting uint32 `json:"waiting"`
	Watches uint32 `json:"watches"`
	Route   string `json:"route,omitempty"`
	Address string `json:"address,omitempty"`
}

// Observed is what nodes have told, and which of them did not answer.
type Observed[T any] struct {
	Found  []T      `json:"found"`
	Silent []string `json:"silent"`
	Nodes  []string `json:"nodes"` // to choose from
}

// maxShown limits the records that a page shows.
const maxShown = 500

func readAudit(ctx context.Context, q *request) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	o := q.console.View.Audit(ctx, q.query("node"))
	slices.Reverse(o.Found) // the newest first, also within a millisecond
	slices.SortStableFunc(o.Found, func(a, b AuditRecord) int { return cmp.Compare(b.TimeMs, a.TimeMs) })
	o.Found = o.Found[:min(len(o.Found), maxShown)]
	return o, nil
}

func readDomains(ctx context.Context, q *request) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	o := q.console.View.Domains(ctx, q.query("node"))
	slices.SortStableFunc(o.Found, func(a, b Domain) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Own, b.Own), cmp.Compare(a.Node, b.Node))
	})
	o.Found = o.Found[:min(len(o.Found), maxShown)]
	return o, nil
}
