package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"simpd/cluster/api"
	"simpd/protocol/httphost"
)

// Config configures a Console. All fields are required.
type Config struct {
	NodeID string
	Site   string // the site's name
	Hosts  httphost.Names
	Keys   *Keys
	// Use marks a one-time token as used, on all nodes. It returns nil once for
	// each token. If the error wraps ErrUsed, the token is void.
	Use func(ctx context.Context, id []byte, until time.Time, generation uint64) error
	// CaughtUp returns nil once this node knows what the site has revoked.
	CaughtUp func() error
	// QuorumLostFor returns for how long this node has been out of touch with the
	// majority; 0: it is in touch.
	QuorumLostFor func() time.Duration
	Programs      Programs
	View          SiteView
	Site3         SiteView
	Logger        *slog.Logger
}

// Programs makes calls in this process. *api.Server is one.
type Programs interface {
	// Local returns a connection for calls in the name of an identity.
	Local(who api.Identity) grpc.ClientConnInterface
	// Authorize returns nil if the identity may call a method.
	Authorize(who api.Identity, method string) error
	// LogRefusal records that the identity may not call a method now.
	LogRefusal(who api.Identity, method string, err error)
	// Audit writes a record to the audit log.
	Audit(r api.AuditRecord)
}

// SiteView asks the nodes of the site what only they themselves know. node is one
// of them; "" is all.
type SiteView interface {
	Audit(ctx context.Context, node string) Observed[AuditRecord]
	Domains(ctx context.Context, node string) Observed[Domain]
}

// ErrUsed is wrapped by errors of Config.Use if the token is void for good.
var ErrUsed = errors.New("the link was used already, or it has expired")

// Console serves the pages. Its methods may be called from any goroutine.
type Console struct {
	Config
	routes  map[string]map[string]*route // by path and method
	origins *http.CrossOriginProtection
	samples *sampler
	drains  drains
	streams chan struct{} // places for event streams
	version string        // of the page's files

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	mu     sync.Mutex // held while work begins, and by Close
}

// maxStreams limits the event streams of all pages.
const maxStreams = 256

// New returns a Console. Close must be called.
func New(c Config) *Console {
	s := &Console{
		Config: c, origins: http.NewCrossOriginProtection(),
		streams: make(chan struct{}, maxStreams),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.samples = newSampler()
	s.drains.of = map[string]*drainProgress{}
	files := assets()
	s.version = versionOf(files)
	s.routes = indexRoutes(allRoutes(files))
	s.spawn(s.sample)
	return s
}

// Close ends all event streams, and what was begun for pages. It waits for
// both.
func (c *Console) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.work.Wait()
}

// spawn runs f, which ends with c.ctx, unless the console is closed.
func (c *Console) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() == nil {
		c.work.Go(f)
	}
}

// ServeHTTP answers a request. The order of the checks is: whether it is for
// this host, whether another site's page has caused it, who has signed in, what
// there is, and whether their role allows it.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSecurityHeaders(w.Header(), r)
	// A writer without deadlines is a test's.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerLimit))
	if !c.Hosts.Allow(r) {
		refuse(w, http.StatusMisdirectedRequest, httphost.Refusal)
		return
	}
	if err := c.origins.Check(r); err != nil {
		refuse(w, http.StatusForbidden, "the request comes from a page of another site")
		return
	}
	found := c.routes[targetOf(r)]
	if route := found[methodOf(r)]; route != nil && route.access == openAccess {
		route.serve(&request{console: c, w: w, r: r, route: route})
		return
	}
	session, err := c.sessionOf(r)
	if err != nil {
		c.refuseStranger(w, r, err)
		return
	}
	c.serveSession(w, r, found, session)
}

// serveSession answers somebody who has signed in.
func (c *Console) serveSession(w http.ResponseWriter, r *http.Request, found map[string]*route, session *ticket) {
	route := found[methodOf(r)]
	req := &request{console: c, w: w, r: r, route: route, session: session}
	if err := c.CaughtUp(); err != nil {
		req.refuseAction(status.Error(codes.Unavailable, err.Error()+"; try another node"))
		return
	}
	switch {
	case found == nil:
		refuse(w, http.StatusNotFound, "there is no such page")
		return
	case route == nil || route.access == openAccess:
		w.Header().Set("Allow", strings.Join(methodsOf(found), ", "))
		refuse(w, http.StatusMethodNotAllowed, "this method is not allowed here")
		return
	}
	if isCrossSite(r) && !route.navigable {
		refuse(w, http.StatusForbidden, "the request comes from a page of another site")
		return
	}
	if err := req.authorize(); err != nil {
		req.refuseAction(err)
		return
	}
	if r.Method == http.MethodPost && c.QuorumLostFor() >= cutOffTimeout {
		req.refuseAction(status.Error(codes.Unavailable, "this node has no contact to the majority, so nothing can be changed here; try another node"))
		return
	}
	c.renew(w, session)
	route.serve(req)
}

// cutOffTimeout is how long a node without contact to the majority still takes
// what a session asks it to change.
const cutOffTimeout = 3 * time.Second

// targetOf returns the path of a request as it was sent. Only what stands in the
// table letter for letter is served: no encoding, no dots and no doubled slashes
// are resolved.
func targetOf(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

// methodOf returns the method of a request; HEAD is GET without a body.
func methodOf(r *http.Request) string {
	if r.Method == http.MethodHead {
		return http.MethodGet
	}
	return r.Method
}

// isCrossSite reports whether a browser says that a page of another origin has
// caused the request. Programs and old browsers say nothing.
func isCrossSite(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}
