package federation_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/federation"
	"simpd/protocol/internal/outbound/outboundtest"
)

// abroad is the world outside of a site, as its relay finds it: DNS, and what
// is at each address.
type abroad struct {
	t     *testing.T
	relay *federation.Relay
	outboundtest.Zone
	roots  *x509.CertPool
	cert   tls.Certificate // of two.example
	rules  protocol.Federation
	limits federation.Limits

	mu       sync.Mutex
	places   map[string]func(p *outboundtest.Peer) // nil: nobody answers at all
	dialed   []string
	dialErr  error    // of each connection; nil: what is there answers
	lookedUp []string // names
	wg       sync.WaitGroup
}

const (
	relaySecret = "the secret of one.example's site"
	home        = "9.0.2.2:7468" // where two.example is
)

// goAbroad runs a test in virtual time, with two.example at its home.
func goAbroad(t *testing.T, set func(*abroad, *federation.Config), f func(*abroad)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &abroad{t: t, limits: federation.DefaultLimits, roots: x509.NewCertPool(), places: map[string]func(*outboundtest.Peer){}}
		a.cert = a.issue(false, "two.example")
		a.Zone = outboundtest.Zone{
			SRV: map[string][]*net.SRV{"simps tcp two.example": {{Target: "host.example.net.", Port: 7468}}},
			IP:  map[string]string{"host.example.net": "9.0.2.2"},
		}
		c := federation.Config{
			Federation: func() *protocol.Federation { return &a.rules },
			Secret:     func() []byte { return []byte(relaySecret) },
			Roots:      func() *x509.CertPool { return a.roots },
			Resolver:   a, Dial: a.dial,
		}
		if set != nil {
			set(a, &c)
		}
		a.relay = federation.NewLimited(c, a.limits)
		f(a)
		a.relay.Close()
		a.wg.Wait()
	})
}

// issue makes a certificate that the relay trusts, but for its names and time.
func (a *abroad) issue(expired bool, names ...string) tls.Certificate {
	cert := outboundtest.NewCertificate(a.t, expired, names...)
	a.roots.AddCert(cert.Leaf)
	return cert
}

// LookupSRV and LookupNetIP ask the zone as it is now.
func (a *abroad) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	a.mu.Lock()
	a.lookedUp = append(a.lookedUp, name)
	a.mu.Unlock()
	return a.Zone.LookupSRV(ctx, service, proto, name)
}

func (a *abroad) dial(ctx context.Context, _, address string) (net.Conn, error) {
	a.mu.Lock()
	a.dialed = append(a.dialed, address)
	play, known := a.places[address]
	a.mu.Unlock()
	switch {
	case a.dialErr != nil:
		return nil, a.dialErr
	case !known:
		return nil, outboundtest.ErrRefused
	case play == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := outboundtest.Pipe()
	a.wg.Go(func() {
		defer there.Close()
		play(outboundtest.NewPeer(a.t, there))
	})
	return here, nil
}

func (a *abroad) put(address string, play func(p *outboundtest.Peer)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.places[address] = play
}

func (a *abroad) dials() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.dialed)
}

// admit plays a site up to the end of AUTH, by dialback.
func (a *abroad) admit(p *outboundtest.Peer) {
	if p.Handshake(a.cert) != nil {
		return
	}
	p.Say("* HELLO version=SIMP/1.0 domain=two.example")
	p.Answer("HELLO version=SIMP/1.1", "200 version=SIMP/1.0 domain=two.example size=1000 idle=300 auth=PLAIN,DIALBACK history=h2 tls=on")
	p.Answer("AUTH mech=DIALBACK data="+base64.StdEncoding.EncodeToString([]byte("one.example")), "101 data="+base64.StdEncoding.EncodeToString([]byte("a nonce of sixteen")))
	mac := hmac.New(sha256.New, []byte(relaySecret))
	io.WriteString(mac, "one.example\x00two.example\x00a nonce of sixteen")
	p.Answer("MORE data="+base64.StdEncoding.EncodeToString(mac.Sum(nil)), "200 domain=one.example")
}

// serve plays a whole site: each request is answered by the function, with
// lines that the tag goes before; "" leaves it unanswered.
func (a *abroad) serve(answer func(verb, line string) string) func(*outboundtest.Peer) {
	return func(p *outboundtest.Peer) {
		a.admit(p)
		p.AnswerAll(answer)
	}
}

func always(answer string) func(string, string) string {
	return func(string, string) string { return answer }
}

// start sends a message and returns where its outcome comes.
func (a *abroad) start(from, to, id string, timeout time.Duration) <-chan protocol.Outcome {
	outcome := make(chan protocol.Outcome, 2)
	a.relay.Send(&protocol.Message{
		From: address(a.t, from), To: address(a.t, to), ID: id, Entity: []byte("\r\nhello"), Deadline: time.Now().Add(timeout),
	}, func(o protocol.Outcome) { outcome <- o })
	return outcome
}

func (a *abroad) send(to string) protocol.Outcome {
	return <-a.start("alice@one.example", to, "m1", 10*time.Second)
}

var address = outboundtest.ParseAddress
