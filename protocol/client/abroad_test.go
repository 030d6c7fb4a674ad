package client_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
)

// abroad is the world outside of a site, as its relay finds it: DNS, and what
// is at each address.
type abroad struct {
	t     *testing.T
	relay *client.Relay
	zone
	roots *x509.CertPool
	cert  tls.Certificate // of two.example
	rules protocol.Federation

	mu       sync.Mutex
	places   map[string]func(p *peer) // nil: nobody answers at all
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
func goAbroad(t *testing.T, set func(*abroad, *client.RelayConfig), f func(*abroad)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := &abroad{t: t, roots: x509.NewCertPool(), places: map[string]func(*peer){}}
		a.cert = a.issue(false, "two.example")
		a.zone = zone{
			srv: map[string][]*net.SRV{"simps tcp two.example": {{Target: "host.example.net.", Port: 7468}}},
			ip:  map[string]string{"host.example.net": "9.0.2.2"},
		}
		c := client.RelayConfig{
			Federation: func() *protocol.Federation { return &a.rules },
			Secret:     func() []byte { return []byte(relaySecret) },
			Roots:      func() *x509.CertPool { return a.roots },
			Resolver:   a, Dial: a.dial,
		}
		if set != nil {
			set(a, &c)
		}
		a.relay = client.NewRelay(c)
		f(a)
		a.relay.Close()
		a.wg.Wait()
	})
}

// LookupSRV and LookupNetIP ask the zone as it is now.
func (a *abroad) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	a.mu.Lock()
	a.lookedUp = append(a.lookedUp, name)
	a.mu.Unlock()
	return a.zone.LookupSRV(ctx, service, proto, name)
}

// issue makes a certificate that the relay trusts, but for its names and time.
func (a *abroad) issue(expired bool, names ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "two.example"}, DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if expired {
		of.NotAfter = time.Now().Add(-time.Hour)
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, _ := x509.ParseCertificate(der)
	a.roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

var errNobody = errors.New("connection refused")

func (a *abroad) dial(ctx context.Context, _, address string) (net.Conn, error) {
	a.mu.Lock()
	a.dialed = append(a.dialed, address)
	play, known := a.places[address]
	a.mu.Unlock()
	switch {
	case a.dialErr != nil:
		return nil, a.dialErr
	case !known:
		return nil, errNobody
	case play == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	here, there := bufferedPipe()
	a.wg.Go(func() {
		defer there.Close()
		play(&peer{t: a.t, conn: there, r: bufio.NewReader(there)})
	})
	return here, nil
}

func (a *abroad) put(address string, play func(p *peer)) {
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
func (a *abroad) admit(p *peer) {
	if p.handshake(a.cert) != nil {
		return
	}
	p.say("* HELLO version=SIMP/1.0 domain=two.example")
	p.answer("HELLO version=SIMP/1.0", "200 version=SIMP/1.0 domain=two.example size=1000 idle=300 auth=PLAIN,DIALBACK history=h2 tls=on")
	p.answer("AUTH mech=DIALBACK data="+base64.StdEncoding.EncodeToString([]byte("one.example")), "101 data="+base64.StdEncoding.EncodeToString([]byte("a nonce of sixteen")))
	mac := hmac.New(sha256.New, []byte(relaySecret))
	io.WriteString(mac, "one.example\x00two.example\x00a nonce of sixteen")
	p.answer("MORE data="+base64.StdEncoding.EncodeToString(mac.Sum(nil)), "200 domain=one.example")
}

// serve plays a whole site: each request is answered by the function, with
// lines that the tag goes before; "" leaves it unanswered.
func (a *abroad) serve(answer func(verb, line string) string) func(*peer) {
	return func(p *peer) {
		a.admit(p)
		p.answerAll(answer)
	}
}

func (p *peer) answerAll(answer func(verb, line string) string) {
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return
		}
		var l protocol.Line
		if protocol.ParseLine(strings.TrimSuffix(line, "\r\n"), &l) != nil || l.Status != 0 {
			continue
		}
		if l.Literal > 0 {
			_, _ = io.CopyN(io.Discard, p.r, int64(l.Literal))
		}
		said := "200"
		if l.Verb != "PING" {
			said = answer(l.Verb, line)
		}
		for part := range strings.SplitSeq(said, "\n") {
			if part != "" {
				_, _ = fmt.Fprintf(p.conn, "%s %s\r\n", l.Tag, part)
			}
		}
		if l.Verb == "QUIT" {
			return
		}
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
