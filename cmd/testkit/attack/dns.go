package main

import (
	"context"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	evilZone = "evil.example" // which has every name
	nowhere  = "9.9.9.9"      // a public address, where nothing answers: the laboratory's network ends before it
	dnsDelay = 500 * time.Millisecond
)

// openDNS has the attackers' DNS server answer, slowly, for every name.
func (g *ground) openDNS(ctx context.Context) error {
	return g.dns.begin(func() error {
		packets, err := net.ListenPacket("udp", g.Hostile.DNS)
		if err != nil {
			return err
		}
		s := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(answerAll)}
		context.AfterFunc(ctx, func() { _ = s.Shutdown() })
		go func() { _ = s.ActivateAndServe() }() // it ends with ctx
		return nil
	})
}

func answerAll(w dns.ResponseWriter, q *dns.Msg) {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Authoritative = true
	if len(q.Question) == 1 && strings.HasSuffix(strings.ToLower(q.Question[0].Name), evilZone+".") {
		m.Answer = evilRecords(q.Question[0])
	} else {
		m.Rcode = dns.RcodeNameError
	}
	time.AfterFunc(dnsDelay, func() { _ = w.WriteMsg(m) })
}

func evilRecords(q dns.Question) []dns.RR {
	head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 1}
	switch q.Qtype {
	case dns.TypeSRV:
		return []dns.RR{&dns.SRV{Hdr: head, Port: 7468, Target: "host." + strings.TrimPrefix(q.Name, "_simps._tcp.")}}
	case dns.TypeA:
		return []dns.RR{&dns.A{Hdr: head, A: net.ParseIP(nowhere)}}
	}
	return nil
}
