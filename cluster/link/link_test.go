package link

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"simpd/cluster/ratelimit"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/link/linktest"
	"simpd/cluster/link/pki"
	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/store"
)

// handler is the node behind a link in tests: it writes down what it is told.
type handler struct {
	deliver func(from string, s store.Session, m *protocol.Message, done func(protocol.Outcome))

	mu      sync.Mutex
	got     []string // ids of messages
	events  []string
	failed  []string
	counted []string
	known   []string
}

func (h *handler) ReceiveMessage(from string, s store.Session, m *protocol.Message, done func(protocol.Outcome)) {
	h.mu.Lock()
	h.got = append(h.got, m.ID)
	h.mu.Unlock()
	if h.deliver != nil {
		h.deliver(from, s, m, done)
		return
	}
	done(protocol.Outcome{Status: protocol.StatusOK})
}

func (h *handler) Failed(a protocol.Attempt, times int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = append(h.failed, fmt.Sprint(a.Source, " ", a.Principal, " ", times))
}

func (h *handler) Succeeded(a protocol.Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known = append(h.known, fmt.Sprint(a.Source, " ", a.Principal))
}

func (h *handler) Counted(from string, counts []ratelimit.Count) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range counts {
		h.counted = append(h.counted, fmt.Sprint(from, " ", c.Kind, " ", c.Key[0], " ", c.Taken))
	}
}

func (h *handler) MemberUp(m Member) { h.event("up " + m.ID) }

func (h *handler) MemberSuspect(id string, how Suspicion) { h.event(id + " " + how.String()) }

func (h *handler) MemberLeft(id string) { h.event("left " + id) }

func (h *handler) event(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, what)
}

func (h *handler) messages() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (h *handler) failures() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.failed, "; ")
}

func (h *handler) told() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.events)
}

// calls answers the calls of other nodes.
type calls struct {
	clusterv1.UnimplementedPeerServer
}

func (calls) Status(context.Context, *clusterv1.StatusRequest) (*clusterv1.StatusResponse, error) {
	return &clusterv1.StatusResponse{Index: 7}, nil
}

func (calls) Probe(context.Context, *clusterv1.ProbeRequest) (*clusterv1.ProbeResponse, error) {
	return &clusterv1.ProbeResponse{BootstrapExpect: 3}, nil
}

// site is a few links on a network in memory. It has to be made in a bubble
// of synctest, and is closed at the end of it.
type site struct {
	t        *testing.T
	network  *linktest.Network
	certs    string // a directory; empty: insecure
	links    map[string]*Link
	handlers map[string]*handler
}

func newSite(t *testing.T) *site {
	s := &site{t: t, network: linktest.New(), links: map[string]*Link{}, handlers: map[string]*handler{}}
	t.Cleanup(s.close)
	return s
}

func (s *site) close() {
	for _, l := range s.links {
		l.Close()
	}
	<-time.After(10 * time.Second) // memberlist's probes end by their timers alone
}

// secure makes certificates for nodes 1 to n.
func (s *site) secure(n int) *site {
	s.certs = filepath.Join(s.t.TempDir(), "tls")
	order := pki.Order{Dir: s.certs, Site: "example.com", Services: []pki.ServiceOrder{{Name: "bot", Roles: pki.AllRoles()}}}
	for i := 1; i <= n; i++ {
		order.Nodes = append(order.Nodes, pki.NodeOrder{ID: nodeID(i)})
	}
	if _, err := pki.Make(order); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func nodeID(i int) string { return fmt.Sprint("n", i) }

func hostOf(i int) string { return fmt.Sprint("10.0.0.", i) }

func (s *site) identity(name string) *pki.Identity {
	s.t.Helper()
	at := func(file string) string { return filepath.Join(s.certs, file) }
	id, err := pki.Load(at("ca.crt"), at(name+".crt"), at(name+".key"))
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

// config is that of node i; it joins by way of node 1.
func (s *site) config(i int) Config { return s.configAt(i, hostOf(i)) }

// configAt is that of node i at another host than its own.
func (s *site) configAt(i int, host string) Config {
	s.t.Helper()
	listener, err := s.network.Listen(host + ":7470")
	if err != nil {
		s.t.Fatal(err)
	}
	gossip, err := s.network.Gossip(host + ":7471")
	if err != nil {
		s.t.Fatal(err)
	}
	c := Config{
		NodeID: nodeID(i), Site: "example.com", Listener: listener, Dial: s.network.Dialer(host),
		Handler: &handler{}, Calls: calls{}, Gossip: GossipConfig{Transport: gossip, Join: []string{"10.0.0.1:7471"}},
		Logger: slog.New(slog.NewTextHandler(s.t.Output(), nil)),
	}
	if s.certs != "" {
		c.Identity = s.identity("node-" + c.NodeID)
	}
	return c
}

func (s *site) open(c Config) *Link {
	s.t.Helper()
	l, err := Open(c)
	if err != nil {
		s.t.Fatal(err)
	}
	l.SetConfiguration(Configuration{})
	s.links[c.NodeID], s.handlers[c.NodeID] = l, c.Handler.(*handler)
	if err := l.Start(); err != nil {
		s.t.Fatal(err)
	}
	return l
}

// up opens nodes 1 to n and waits until each has a stream to each.
func (s *site) up(n int) *site {
	s.t.Helper()
	for i := 1; i <= n; i++ {
		s.open(s.config(i))
	}
	s.connected(n)
	return s
}

func (s *site) connected(n int) {
	s.t.Helper()
	for i := 1; i <= n; i++ {
		for j := 1; j <= n; j++ {
			if i != j {
				s.eventually(func() bool { return s.links[nodeID(i)].Connectivity(nodeID(j)).Connected }, "%d reaches %d", i, j)
			}
		}
	}
}

// eventually waits at most a minute of the bubble's time until ok.
func (s *site) eventually(ok func() bool, format string, args ...any) {
	s.t.Helper()
	for range 6000 {
		synctest.Wait()
		if ok() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	s.t.Fatalf("not within a minute: "+format, args...)
}

// configuration has the nodes 1 to n as voters.
func configuration(index uint64, nodes ...int) Configuration {
	c := Configuration{Index: index, Servers: map[string]string{}, Voters: map[string]bool{}}
	for _, i := range nodes {
		c.Servers[nodeID(i)], c.Voters[nodeID(i)] = hostOf(i)+":7470", true
	}
	return c
}

func message(id string) *protocol.Message {
	a, _ := protocol.ParseAddress("alice@example.com")
	b, _ := protocol.ParseAddress("bob@example.com")
	return &protocol.Message{From: a, To: b, ID: id, Time: time.Now(), Entity: []byte("\r\nhello"), Deadline: time.Now().Add(10 * time.Second)}
}

// outcomes counts what deliveries came to.
type outcomes struct {
	mu    sync.Mutex
	of    map[string]protocol.Outcome
	twice bool
}

func (o *outcomes) done(id string) func(protocol.Outcome) {
	return func(got protocol.Outcome) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.of == nil {
			o.of = map[string]protocol.Outcome{}
		}
		_, again := o.of[id]
		o.twice = o.twice || again
		o.of[id] = got
	}
}

func (o *outcomes) count(status protocol.Status) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, got := range o.of {
		if got.Status == status {
			n++
		}
	}
	return n
}

func (o *outcomes) status(id string) protocol.Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.of[id].Status
}

var session = store.Session{Node: "n2", Epoch: 3, Number: 42}

func TestMessagesArriveInOrderAndAreAnswered(t *testing.T) {
	for name, secure := range map[string]bool{"insecure": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				if secure {
					s.secure(2)
				}
				s.up(2)
				var o outcomes
				var want []string
				for i := range 3000 {
					id := fmt.Sprint("m", i)
					want = append(want, id)
					s.links["n1"].SendToNode("n2", session, message(id), o.done(id))
				}
				s.eventually(func() bool { return o.count(protocol.StatusOK) == 3000 }, "3000 are answered")
				if got := s.handlers["n2"].messages(); !slices.Equal(got, want) {
					t.Errorf("%d messages came, or in another order", len(got))
				}
				if o.twice {
					t.Error("done was called twice")
				}
			})
		})
	}
}

func TestAMessageArrivesAsItWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.open(s.config(1))
		<-time.After(time.Hour) // so that their clocks differ
		s.open(s.config(2))
		s.connected(2)
		sent := message("id-1")
		sent.Repeatable, sent.Entity = true, []byte("a: b\r\n\r\n\x00\xff")
		var o outcomes
		var got *protocol.Message
		var from string
		var at store.Session
		s.handlers["n2"].deliver = func(f string, to store.Session, m *protocol.Message, done func(protocol.Outcome)) {
			from, at, got = f, to, m
			done(protocol.Outcome{Status: protocol.StatusRefused, Text: "not now"})
		}
		s.links["n1"].SendToNode("n2", session, sent, o.done("id-1"))
		s.eventually(func() bool { return o.status("id-1") != 0 }, "it is answered")
		if from != "n1" || at != session || got.From != sent.From || got.To != sent.To || got.ID != sent.ID ||
			string(got.Entity) != string(sent.Entity) || !got.Repeatable || got.Time.Sub(sent.Time).Abs() > time.Microsecond {
			t.Errorf("sent %+v to %v, came as %+v to %v from %s", sent, session, got, at, from)
		}
		if late := got.Deadline.Sub(sent.Deadline); late > 0 || late < -time.Millisecond {
			t.Errorf("the deadline came %v later", late)
		}
		if o.of["id-1"] != (protocol.Outcome{Status: protocol.StatusRefused, Text: "not now"}) {
			t.Errorf("the outcome came as %v", o.of["id-1"])
		}
	})
}
