package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/cmd/testkit/world"
)

// The two sites' domains.
const (
	oneDomain = "one.example"
	twoDomain = "two.example"
)

// meeting is two sites, and the world in which they find one another.
type meeting struct {
	zone       *world.Zone
	authority  *world.Authority
	root       string // the authority's file
	dir        string
	one, two   *site.Site
	alice, bob *guest
}

// guest is a user with their terminals.
type guest struct {
	site           *site.Site
	user           string
	listen, watch  *site.Program
	heard, watched int // lines that were looked at
}

// sitesChapters are told in this order; each stands on what was before.
func sitesChapters() []meetingChapter {
	return []meetingChapter{
		{"Two sites, a DNS server, an authority", (*meeting).begin},
		{"An operator looks at the other site before anybody calls it", (*meeting).lookFirst},
		{"Alice and Bob write to one another", (*meeting).chat},
		{"They see one another, once each allows it", (*meeting).watchEachOther},
		{"A node of Alice's site is killed", (*meeting).killOne},
		{"Bob's site is away for a while", (*meeting).siteAway},
	}
}

type meetingChapter struct {
	title string
	tell  func(*meeting) error
}

func runSites(bin string) error {
	path, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	begun := time.Now()
	dir, err := os.MkdirTemp("", "simpd-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := &meeting{dir: dir}
	defer m.close()
	if err := m.prepare(path); err != nil {
		return err
	}
	for i, c := range sitesChapters() {
		printf("\n%d. %s\n\n", i+1, c.title)
		if err := c.tell(m); err != nil {
			return err
		}
	}
	printf("\nAll of this was so, in %.1f s.\n", time.Since(begun).Seconds())
	return nil
}

func (m *meeting) close() {
	for _, s := range []*site.Site{m.one, m.two} {
		if s != nil {
			_ = s.Close()
		}
	}
	if m.zone != nil {
		m.zone.Close()
	}
}

// prepare makes what is around the sites, and their keys.
func (m *meeting) prepare(bin string) (err error) {
	if m.zone, err = world.Serve(); err != nil {
		return err
	}
	if m.authority, err = world.NewAuthority("an authority for the demo"); err != nil {
		return err
	}
	if m.root, err = m.authority.WriteRoot(m.dir); err != nil {
		return err
	}
	if m.one, err = m.makeSite(bin, oneDomain, 3); err != nil {
		return err
	}
	m.two, err = m.makeSite(bin, twoDomain, 1)
	return err
}

func (m *meeting) makeSite(bin, domain string, nodes int) (*site.Site, error) {
	dir := filepath.Join(m.dir, domain)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	cert, key, err := m.authority.IssueFiles(m.dir, domain)
	if err != nil {
		return nil, err
	}
	flags := []string{
		"--tls-cert", cert, "--tls-key", key, "--federation-ca", m.root, "--dns", m.zone.Addr,
		"--route", oneDomain + "=dns", "--route", twoDomain + "=dns", // this machine is where DNS may not lead else
	}
	s, err := site.New(site.Config{Bin: bin, Dir: dir, Nodes: nodes, Domain: domain, Password: password, Flags: flags})
	if err != nil {
		return s, err
	}
	s.CA = m.root
	for _, n := range s.Nodes {
		m.publish(domain, n)
	}
	return s, nil
}

// publish has DNS name a node.
func (m *meeting) publish(domain string, n *site.Node) {
	host, port, _ := net.SplitHostPort(n.SIMPS)
	number, _ := strconv.Atoi(port)
	name := n.ID + "." + domain
	m.zone.AddSRV("simps", domain, 10, 10, uint16(number), name)
	m.zone.AddAddress(name, netip.MustParseAddr(host))
}

func (m *meeting) begin() error {
	for _, s := range []*site.Site{m.one, m.two} {
		if err := s.BeginAll(); err != nil {
			return err
		}
	}
	if err := m.one.AddUsers(m.one.Nodes[0], "alice"); err != nil {
		return err
	}
	if err := m.two.AddUsers(m.two.Nodes[0], "bob"); err != nil {
		return err
	}
	m.alice, m.bob = &guest{site: m.one, user: "alice@" + oneDomain}, &guest{site: m.two, user: "bob@" + twoDomain}
	say("one.example runs three nodes, two.example one. A DNS server names them by SRV records, an authority")
	say("vouches for each domain. Alice is of the one site, Bob of the other; simp finds their servers by DNS.")
	return nil
}

func (m *meeting) lookFirst() error {
	code, said, err := m.one.Simpctl(m.one.Nodes[0], "domain", "check", twoDomain)
	if err != nil {
		return err
	}
	for line := range strings.Lines(said) {
		say("    %s", strings.TrimRight(line, "\n"))
	}
	if code != 0 || !strings.Contains(said, "EXTERNAL") {
		return fmt.Errorf("simpctl domain check exits %d", code)
	}
	return nil
}

// person is the flags with which simp speaks as a guest: no server is named.
func (m *meeting) person(g *guest) []string {
	return []string{"--dns", m.zone.Addr, "--user", g.user, "--tls-ca", m.root}
}

func (m *meeting) listens(g *guest) (err error) {
	if g.listen, err = g.site.Start("simp", append(m.person(g), "listen")...); err != nil {
		return err
	}
	g.heard = 0
	_, _, err = g.listen.Await(0, "listening")
	return err
}

// writes has one guest write to another, and checks what becomes of it.
func (m *meeting) writes(from, to *guest, text string, want ...int) (status int, err error) {
	args := append(m.person(from), "--output", "json", "send", to.user, text)
	code, said, err := from.site.Run("", "simp", args...)
	if err != nil {
		return 0, err
	}
	for _, w := range want {
		if strings.Contains(strings.ReplaceAll(said, " ", ""), fmt.Sprintf(`"status":%d`, w)) && code == exitCode(w) {
			return w, nil
		}
	}
	return 0, fmt.Errorf("%s writes to %s: exit code %d: %s", from.user, to.user, code, said)
}

// delivers is writes for what arrives.
func (m *meeting) delivers(from, to *guest, text string) error {
	if _, err := m.writes(from, to, text, 200); err != nil {
		return err
	}
	line, next, err := to.listen.Await(to.heard, text)
	if err != nil {
		return err
	}
	if to.heard = next; !strings.Contains(line, from.user) {
		return fmt.Errorf("%s is told %q, which is not from %s", to.user, line, from.user)
	}
	say("    %s's terminal: %s", to.user, strings.TrimSpace(line))
	return nil
}

func (m *meeting) chat() error {
	if _, err := m.writes(m.alice, m.bob, "hello", 480); err != nil {
		return err
	}
	say("Bob does not listen: Alice is told so by his site, 480.")
	for _, g := range []*guest{m.alice, m.bob} {
		if err := m.listens(g); err != nil {
			return err
		}
	}
	say("Both listen.")
	if err := m.delivers(m.alice, m.bob, "hello, Bob"); err != nil {
		return err
	}
	if err := m.delivers(m.bob, m.alice, "hello, Alice"); err != nil {
		return err
	}
	say("200 both ways: each site found the other by DNS, checked its certificate for its domain, and showed its own.")
	return nil
}

func (m *meeting) watches(g, of *guest) (err error) {
	if g.watch, err = g.site.Start("simp", append(m.person(g), "watch", of.user)...); err != nil {
		return err
	}
	g.watched = 0
	return nil
}

// sees waits until a guest's watch shows another in a state.
func (m *meeting) sees(g, of *guest, state string) error {
	line, next, err := g.watch.Await(g.watched, of.user, state)
	if err != nil {
		return err
	}
	g.watched = next
	say("    %s's terminal: %s", g.user, strings.TrimSpace(line))
	return nil
}

func (m *meeting) watchEachOther() error {
	for _, pair := range [][2]*guest{{m.alice, m.bob}, {m.bob, m.alice}} {
		g, of := pair[0], pair[1]
		if err := m.watches(g, of); err != nil {
			return err
		}
		if err := m.sees(g, of, "deaf"); err != nil {
			return err
		}
	}
	say("Both watch, and see each other deaf: nobody of another site sees anything unless it is allowed.")
	for _, pair := range [][2]*guest{{m.alice, m.bob}, {m.bob, m.alice}} {
		g, of := pair[0], pair[1]
		if err := of.site.Succeed("", "simp", append(m.person(of), "acl", "set", g.user, "--presence", "allow")...); err != nil {
			return err
		}
		if err := m.sees(g, of, "available"); err != nil {
			return err
		}
	}
	say("simp acl set … --presence allow, on both sides: each sees the other available at once.")
	m.bob.listen.Kill()
	if err := m.sees(m.alice, m.bob, "deaf"); err != nil {
		return err
	}
	if err := m.listens(m.bob); err != nil {
		return err
	}
	if err := m.sees(m.alice, m.bob, "available"); err != nil {
		return err
	}
	say("Bob's client was killed and started again. Alice, at her own site, saw both.")
	return nil
}

func (m *meeting) killOne() error {
	n := m.one.Nodes[0]
	n.Kill()
	say("kill -9 of n1 of one.example.")
	m.alice.listen.Kill()
	m.alice.watch.Kill()
	if err := m.listens(m.alice); err != nil {
		return err
	}
	if err := m.watches(m.alice, m.bob); err != nil {
		return err
	}
	if err := m.sees(m.alice, m.bob, "available"); err != nil {
		return err
	}
	limit := time.Now().Add(site.Patience)
	for { // Bob's site may try the dead node first, and then says so
		status, err := m.writes(m.bob, m.alice, "still there?", 200, 502, 504, 480, 503, 201)
		if err != nil || time.Now().After(limit) {
			return errors.Join(err, errors.New("no message reaches alice any more"))
		}
		if status == 200 {
			break
		}
	}
	if _, _, err := m.alice.listen.Await(m.alice.heard, "still there?"); err != nil {
		return err
	}
	say("Alice's client found another node by DNS, and so did Bob's site: his next message is 200.")
	return nil
}

func (m *meeting) siteAway() error {
	n := m.two.Nodes[0]
	n.Kill()
	say("kill -9 of the only node of two.example.")
	if err := m.sees(m.alice, m.bob, "unknown"); err != nil {
		return err
	}
	say("Alice sees that it is unknown whether Bob listens.")
	status, err := m.writes(m.alice, m.bob, "anybody there?", 502, 504)
	if err != nil {
		return err
	}
	say("Alice's message is certain not to have been handed over: %d.", status)
	m.bob.listen.Kill()
	if err := n.Begin(); err != nil {
		return err
	}
	if err := n.Ready(site.Patience); err != nil {
		return err
	}
	if err := m.listens(m.bob); err != nil {
		return err
	}
	if err := m.sees(m.alice, m.bob, "available"); err != nil {
		return err
	}
	if err := m.delivers(m.alice, m.bob, "welcome back"); err != nil {
		return err
	}
	say("two.example is back: Alice sees Bob again, without having asked again, and reaches him.")
	return nil
}
