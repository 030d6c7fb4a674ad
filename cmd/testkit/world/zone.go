// Package world plays, on loopback, what is outside of a site: a real DNS
// server that is the authority for a few names, and an authority for
// certificates. The demo of two sites and their tests stand on it.
package world

import (
	"net"
	"net/netip"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Zone is a DNS server, over UDP and TCP, that is authoritative for all names,
// of which it has those that it was given. Its methods may be called from any
// goroutine.
type Zone struct {
	Addr string // host:port

	udp, tcp *dns.Server
	running  sync.WaitGroup

	mu      sync.Mutex
	records map[string][]dns.RR
	broken  map[string]bool // names that are answered SERVFAIL
	asked   map[string]int
}

// Serve begins to answer, with no name known.
func Serve() (*Zone, error) {
	packets, stream, err := listenBoth()
	if err != nil {
		return nil, err
	}
	z := &Zone{Addr: packets.LocalAddr().String(), records: map[string][]dns.RR{}, broken: map[string]bool{}, asked: map[string]int{}}
	z.udp = z.serve(&dns.Server{PacketConn: packets})
	z.tcp = z.serve(&dns.Server{Listener: stream})
	return z, nil
}

// listenBoth takes one port of both kinds: another program may have the one
// that is free of the first kind, so several are tried.
func listenBoth() (packets net.PacketConn, stream net.Listener, err error) {
	for range 20 {
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if stream, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, stream, nil
		}
		_ = packets.Close()
	}
	return nil, nil, err
}

func (z *Zone) serve(s *dns.Server) *dns.Server {
	s.Handler = dns.HandlerFunc(z.answer)
	begun := make(chan struct{})
	s.NotifyStartedFunc = func() { close(begun) }
	z.running.Go(func() { _ = s.ActivateAndServe() }) // it ends with Close
	<-begun
	return s
}

// Close ends the server.
func (z *Zone) Close() {
	_ = z.udp.Shutdown()
	_ = z.tcp.Shutdown()
	z.running.Wait()
}

func (z *Zone) answer(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if len(q.Question) == 1 {
		z.fill(m, q.Question[0])
	}
	_ = w.WriteMsg(m) // who asked asks again
}

func (z *Zone) fill(m *dns.Msg, q dns.Question) {
	name := strings.ToLower(q.Name)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked[name]++
	all, known := z.records[name]
	switch {
	case z.broken[name]:
		m.Rcode = dns.RcodeServerFailure
	case !known:
		m.Rcode = dns.RcodeNameError
	}
	for _, r := range all {
		if r.Header().Rrtype == q.Qtype {
			m.Answer = append(m.Answer, r)
		}
	}
}

func (z *Zone) add(name string, r dns.RR) {
	z.mu.Lock()
	defer z.mu.Unlock()
	name = strings.ToLower(dns.Fqdn(name))
	*r.Header() = dns.RR_Header{Name: name, Rrtype: r.Header().Rrtype, Class: dns.ClassINET, Ttl: 1}
	z.records[name] = append(z.records[name], r)
}

// AddSRV says that service (simps or simp) of domain is at target, a name, or
// "." for nowhere.
func (z *Zone) AddSRV(service, domain string, priority, weight, port uint16, target string) {
	z.add("_"+service+"._tcp."+domain, &dns.SRV{
		Hdr: dns.RR_Header{Rrtype: dns.TypeSRV}, Priority: priority, Weight: weight, Port: port, Target: dns.Fqdn(target),
	})
}

// AddAddress gives a host one more address.
func (z *Zone) AddAddress(host string, ip netip.Addr) {
	if ip.Is4() {
		z.add(host, &dns.A{Hdr: dns.RR_Header{Rrtype: dns.TypeA}, A: ip.AsSlice()})
		return
	}
	z.add(host, &dns.AAAA{Hdr: dns.RR_Header{Rrtype: dns.TypeAAAA}, AAAA: ip.AsSlice()})
}

// Break has a name answered SERVFAIL.
func (z *Zone) Break(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.broken[strings.ToLower(dns.Fqdn(name))] = true
}

// Asked tells how often a name was asked for.
func (z *Zone) Asked(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[strings.ToLower(dns.Fqdn(name))]
}
