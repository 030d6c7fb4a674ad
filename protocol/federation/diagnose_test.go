package federation_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"simpd/protocol/federation"
	"simpd/protocol/internal/outbound/outboundtest"
)

// What is wrong with a partner is said in words, and what to do about it.
func TestSurveySaysWhatIsWrong(t *testing.T) {
	greets := func(a *abroad, answers ...string) {
		a.put(home, func(p *outboundtest.Peer) {
			if p.Handshake(a.cert) == nil {
				p.Say("* HELLO version=SIMP/1.0")
				for _, answer := range answers {
					line, _ := p.Reader.ReadString('\n')
					tag, _, _ := strings.Cut(line, " ")
					p.Say("%s %s", tag, answer)
				}
				_, _ = io.Copy(io.Discard, p.Reader)
			}
		})
	}
	for name, c := range map[string]struct {
		set                func(*abroad)
		step, text, advice string
	}{
		"no such name": {func(a *abroad) { a.Zone = outboundtest.Zone{} }, "address", "no such host", "spelt rightly"},
		"no service": {func(a *abroad) { a.Zone.SRV["simps tcp two.example"] = []*net.SRV{{Target: "."}} },
			"DNS", "there is no SIMP service: two.example says so by an SRV record", "its users cannot be reached"},
		"private":    {func(a *abroad) { a.Zone.IP["host.example.net"] = "10.1.2.3" }, "address", "no public address", "--route two.example=dns"},
		"black hole": {func(a *abroad) { a.put(home, nil) }, "connection", "host.example.net:7468: it did not answer", "firewall"},
		"silent":     {func(a *abroad) { a.put(home, func(p *outboundtest.Peer) { _, _ = io.Copy(io.Discard, p.Reader) }) }, "greeting", "says nothing in time", "see whether SIMP runs"},
		"hangs up":   {func(a *abroad) { a.put(home, func(p *outboundtest.Peer) { _, _ = p.Reader.ReadByte() }) }, "greeting", "it closed the connection when TLS was to begin", "see whether SIMP runs"},
		"in clear": {func(a *abroad) {
			a.put(home, func(p *outboundtest.Peer) { p.Say("* HELLO version=SIMP/1.0"); _, _ = io.Copy(io.Discard, p.Reader) })
		}, "greeting", "it does not speak TLS there", "STARTTLS (_simp)"},
		"another's": {func(a *abroad) {
			a.put(home, func(p *outboundtest.Peer) { _ = p.Handshake(a.issue(false, "three.example")) })
		},
			"TLS", "its certificate is not accepted: certificate is valid for three.example, not two.example", "valid for two.example itself"},
		"expired": {func(a *abroad) {
			a.put(home, func(p *outboundtest.Peer) { _ = p.Handshake(a.issue(true, "two.example")) })
		},
			"TLS", "its certificate is not accepted", "the operator of two.example has to renew its certificate"},
		"version":    {func(a *abroad) { greets(a, "505 :I speak SIMP/2.0") }, "greeting", "it speaks another version than SIMP/1.1: I speak SIMP/2.0", "newer version"},
		"going away": {func(a *abroad) { greets(a, "503 :draining") }, "greeting", "draining", "try again later"},
		"blocks us":  {func(a *abroad) { greets(a, "200 version=SIMP/1.0 auth=DIALBACK", "403 :you are blocked") }, "proof", "you are blocked", "ask two.example whether it communicates with one.example"},
	} {
		t.Run(name, func(t *testing.T) {
			goAbroad(t, func(a *abroad, _ *federation.Config) { c.set(a) }, func(a *abroad) {
				all, reached := a.relay.Diagnose(context.Background(), "one.example", "two.example")
				last := all[len(all)-1]
				if reached || last.OK || last.Step != c.step || !strings.Contains(last.Text, c.text) || !strings.Contains(last.Advice, c.advice) {
					t.Errorf("%s: %s\n→ %s", last.Step, last.Text, last.Advice)
				}
			})
		})
	}
}
