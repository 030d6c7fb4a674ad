// Package ldaptest is a small LDAP server in memory, for tests of the account
// source for directories.
package ldaptest

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Entry is an entry of the directory.
type Entry struct {
	DN         string
	Password   string
	Attributes map[string][]string
}

// Server is a directory. Its exported fields are set before Start.
type Server struct {
	ServiceDN, ServicePassword string // what has to be bound for a search; "": nothing
	Certificate                *tls.Certificate
	TLS                        bool // from the first octet
	MaxValues                  int  // of an attribute in an answer, as in Active Directory; the others by range; 0: all

	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	entries []Entry
	refuse  func(dn string) (code uint16, text string) // what a right password is answered; nil: success
	search  uint16                                     // the result of searches
	hang    bool                                       // nothing is answered
	hold    chan struct{}                              // what the answers to wrong passwords wait for, if it is not nil
	held    chan struct{}                              // gets an element for each of them
	binds   []string
	count   int // searches
	conns   map[net.Conn]bool
}

// Start listens on a loopback address until the test ends.
func (s *Server) Start(t testing.TB, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.listener, s.conns = l, map[net.Conn]bool{}
	s.running.Go(s.accept)
	t.Cleanup(s.Stop)
}

// Addr returns host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Stop closes the listener and all connections.
func (s *Server) Stop() {
	s.listener.Close()
	s.CloseConnections()
	s.running.Wait()
}

// CloseConnections closes all connections, as a server does that has been idle.
func (s *Server) CloseConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Set replaces the entries.
func (s *Server) Set(entries ...Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = entries
}

// Refuse has binds with a right password be refused.
func (s *Server) Refuse(refuse func(dn string) (code uint16, text string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// FailSearches has searches end with a result.
func (s *Server) FailSearches(code uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.search = code
}

// Hang has the server answer nothing any more, or again.
func (s *Server) Hang(hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hang = hang
}

// DelayRefusals has the server answer wrong passwords only once release is
// called. held gets an element for each that waits.
func (s *Server) DelayRefusals() (held <-chan struct{}, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold, s.held = hold, make(chan struct{}, 100)
	return s.held, sync.OnceFunc(func() { close(hold) })
}

// Binds returns the names that were bound as, but for the service's.
func (s *Server) Binds() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.binds...)
}

// Searches returns how many searches were made.
func (s *Server) Searches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

func (s *Server) accept() {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[raw] = true
		s.mu.Unlock()
		s.running.Go(func() {
			s.serve(raw)
			s.mu.Lock()
			delete(s.conns, raw)
			s.mu.Unlock()
			raw.Close()
		})
	}
}

// session is one connection.
type session struct {
	*Server
	conn  net.Conn
	bound string
}

func (s *Server) serve(raw net.Conn) {
	v := &session{Server: s, conn: raw}
	if s.TLS {
		v.conn = tls.Server(raw, s.tlsConfig())
	}
	for {
		p, err := ber.ReadPacket(v.conn)
		if err != nil || len(p.Children) < 2 {
			return
		}
		s.mu.Lock()
		hang := s.hang
		s.mu.Unlock()
		if !hang && !v.answer(p.Children[0].Value.(int64), p.Children[1], p.Children[2:]) {
			return
		}
	}
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{*s.Certificate}}
}

func (v *session) answer(id int64, op *ber.Packet, controls []*ber.Packet) bool {
	switch op.Tag {
	case ldap.ApplicationBindRequest:
		code, text := v.bind(op.Children[1].Data.String(), op.Children[2].Data.String())
		v.delay(code)
		v.send(id, result(ldap.ApplicationBindResponse, code, text))
	case ldap.ApplicationSearchRequest:
		v.find(id, op, pageOf(controls))
	case ldap.ApplicationExtendedRequest: // STARTTLS
		if v.Certificate == nil {
			v.send(id, result(ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError, "no TLS here"))
			return true
		}
		v.send(id, result(ldap.ApplicationExtendedResponse, 0, ""))
		v.conn = tls.Server(v.conn, v.tlsConfig())
	default:
		return false
	}
	return true
}

func (v *session) bind(dn, password string) (uint16, string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bound = ""
	if password == "" {
		v.binds = append(v.binds, "anonymous "+dn)
		return 0, "" // as RFC 4513, section 5.1.2 has it
	}
	if dn == v.ServiceDN {
		if password != v.ServicePassword {
			return ldap.LDAPResultInvalidCredentials, ""
		}
		v.bound = dn
		return 0, ""
	}
	v.binds = append(v.binds, dn)
	for _, e := range v.entries {
		if strings.EqualFold(e.DN, dn) && e.Password == password {
			if v.refuse != nil {
				return v.refuse(dn)
			}
			v.bound = dn
			return 0, ""
		}
	}
	return ldap.LDAPResultInvalidCredentials, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data 52e, v4563"
}

// delay delays the answer to a wrong password.
func (v *session) delay(code uint16) {
	v.mu.Lock()
	hold, held := v.hold, v.held
	v.mu.Unlock()
	if hold != nil && code == ldap.LDAPResultInvalidCredentials {
		held <- struct{}{}
		<-hold
	}
}

// page is a request for a page of a search (RFC 2696): from is where it begins.
type page struct{ size, from int }

// pageOf returns the page that is asked for; nil: everything is.
func pageOf(controls []*ber.Packet) *page {
	for _, all := range controls {
		for _, c := range all.Children {
			if paging, err := ldap.DecodeControl(c); err == nil && paging.GetControlType() == ldap.ControlTypePaging {
				p := &page{size: int(paging.(*ldap.ControlPaging).PagingSize)}
				p.from, _ = strconv.Atoi(string(paging.(*ldap.ControlPaging).Cookie))
				return p
			}
		}
	}
	return nil
}

func (v *session) find(id int64, op *ber.Packet, p *page) {
	v.mu.Lock()
	entries, code := v.entries, v.search
	v.count++
	v.mu.Unlock()
	limit := op.Children[3].Value.(int64)
	if v.ServiceDN != "" && v.bound != v.ServiceDN {
		code = ldap.LDAPResultInsufficientAccessRights
	}
	var found []*Entry
	for i := range entries {
		if code == 0 && inScope(entries[i].DN, op) && matches(op.Children[6], &entries[i]) {
			found = append(found, &entries[i])
		}
	}
	next := 0
	if p != nil {
		found = found[min(p.from, len(found)):]
		if len(found) > p.size {
			found, next = found[:p.size], p.from+p.size
		}
	}
	for i, e := range found {
		if limit > 0 && int64(i) >= limit {
			code = ldap.LDAPResultSizeLimitExceeded
			break
		}
		v.send(id, v.entryPacket(e, op.Children[7]))
	}
	if p == nil {
		v.send(id, result(ldap.ApplicationSearchResultDone, code, ""))
		return
	}
	answer := ldap.NewControlPaging(0)
	if next > 0 {
		answer.SetCookie([]byte(strconv.Itoa(next)))
	}
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(answer.Encode())
	v.send(id, result(ldap.ApplicationSearchResultDone, code, ""), controls)
}

// inScope reports whether an entry is where a search looks. Names are compared
// without regard to case and to spaces.
func inScope(dn string, op *ber.Packet) bool {
	dn, base := squeeze(dn), squeeze(op.Children[0].Data.String())
	if op.Children[1].Value.(int64) == ldap.ScopeBaseObject {
		return dn == base
	}
	return dn == base || strings.HasSuffix(dn, ","+base)
}

func squeeze(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "") }

// matches evaluates the filters that tests use: and, or, not, equality and presence.
// Values are compared without regard to case and to the accent of é.
func matches(filter *ber.Packet, e *Entry) bool {
	switch filter.Tag {
	case ldap.FilterAnd, ldap.FilterOr:
		for _, part := range filter.Children {
			if matches(part, e) != (filter.Tag == ldap.FilterAnd) {
				return filter.Tag == ldap.FilterOr
			}
		}
		return filter.Tag == ldap.FilterAnd
	case ldap.FilterNot:
		return !matches(filter.Children[0], e)
	case ldap.FilterEqualityMatch:
		for _, value := range e.values(filter.Children[0].Data.String()) {
			if fold(value) == fold(filter.Children[1].Data.String()) {
				return true
			}
		}
		return false
	case ldap.FilterPresent:
		return strings.EqualFold(filter.Data.String(), "objectClass") || len(e.values(filter.Data.String())) > 0
	}
	return false
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "é", "e") }

func (e *Entry) values(attribute string) []string {
	for name, values := range e.Attributes {
		if strings.EqualFold(name, attribute) {
			return values
		}
	}
	return nil
}

// wanted returns the values of an attribute that a search asks for, and the name
// under which they are sent; "" if it does not.
func (s *Server) wanted(name string, values []string, asked *ber.Packet) (as string, some []string) {
	found := len(asked.Children) == 0
	from := 0
	for _, a := range asked.Children {
		base, option, isRange := strings.Cut(a.Data.String(), ";range=")
		if !strings.EqualFold(base, name) {
			continue
		}
		if found = true; isRange {
			first, _, _ := strings.Cut(option, "-")
			from, _ = strconv.Atoi(first)
		}
	}
	switch {
	case !found:
		return "", nil
	case s.MaxValues == 0 || len(values) <= s.MaxValues && from == 0:
		return name, values
	case len(values)-from <= s.MaxValues:
		return fmt.Sprintf("%s;range=%d-*", name, from), values[from:]
	}
	return fmt.Sprintf("%s;range=%d-%d", name, from, from+s.MaxValues-1), values[from : from+s.MaxValues]
}

func (s *Server) entryPacket(e *Entry, asked *ber.Packet) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(octets(e.DN))
	list := ber.NewSequence("")
	for name, values := range e.Attributes {
		if name, values = s.wanted(name, values, asked); name == "" {
			continue
		}
		attribute := ber.NewSequence("")
		attribute.AppendChild(octets(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(octets(v))
		}
		attribute.AppendChild(set)
		list.AppendChild(attribute)
	}
	p.AppendChild(list)
	return p
}

func result(tag ber.Tag, code uint16, text string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(text))
	return p
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func (v *session) send(id int64, op ...*ber.Packet) {
	p := ber.NewSequence("")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	for _, part := range op {
		p.AppendChild(part)
	}
	_ = v.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, _ = v.conn.Write(p.Bytes())
}
