package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/protocol/secretfile"
)

func formSite(s *story) error {
	say("simpctl tls init has made an authority for the site, a certificate for each node and a gossip key.")
	if err := s.BeginAll(); err != nil {
		return err
	}
	say("Three processes run, n1, n2 and n3. They found each other by encrypted gossip and formed a site by Raft.")
	if err := s.AddUsers(s.Nodes[0], "alice", "bob", "carol", "dora", "emil"); err != nil {
		return err
	}
	say("simpctl account import has made alice, bob, carol, dora and emil. What is kept of a password can't be turned back into it.")
	return nil
}

func nobodyListens(s *story) error {
	if err := s.sends(s.Nodes[0], "alice", "bob", 480); err != nil {
		return err
	}
	say("Alice sends to Bob, who does not listen: 480. The message is dropped, she is told so, and simp exits 3.")
	return nil
}

func listenAndWatch(s *story) (err error) {
	if s.carol, err = s.Start("simp", append(s.Person(s.Nodes[2], "carol"), "watch", "bob@"+domain)...); err != nil {
		return err
	}
	if err := s.carolSees("deaf"); err != nil {
		return err
	}
	say("Carol, on n3, watches Bob and sees that he is deaf.")
	if err := s.bobListens(s.Nodes[1]); err != nil {
		return err
	}
	say("Bob listens on n2. Carol sees him available at once.")
	if err := s.bobHears(s.Nodes[0], "hello, Bob"); err != nil {
		return err
	}
	say("Alice sends from n1, and Bob's client on n2 has it and says so: 200, delivered. simp exits 0.")
	return nil
}

// chat has alice chat with bob in a terminal, and loads the page of the web
// chat.
func chat(s *story) error {
	code, said, err := s.Run("see you at one\n/who\n", "simp", append(s.Person(s.Nodes[0], "alice"), "chat", "bob")...)
	if err != nil {
		return err
	}
	line := "-- delivered to bob@" + domain + ": see you at one"
	if code != 0 || !strings.Contains(said, line) {
		return fmt.Errorf("simp chat exits %d and says %s", code, said)
	}
	if _, s.heard, err = s.bob.Await(s.heard, "see you at one"); err != nil {
		return err
	}
	say("Alice types a line into simp chat. It says \"%s\" and, at the end of the input, exits 0.", line)
	page, err := s.webPage(s.Nodes[2])
	if err != nil {
		return err
	}
	say("The web chat's page comes from n3: %s, with no script but that site's own.", page)
	return nil
}

// webPage loads the page of the web chat from a node, and returns its address.
func (s *story) webPage(n *site.Node) (string, error) {
	roots := x509.NewCertPool()
	if err := secretfile.AppendRoots(roots, s.CA); err != nil {
		return "", err
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, n.WS)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: site.Patience}
	defer client.CloseIdleConnections()
	_, port, err := net.SplitHostPort(n.WS)
	if err != nil {
		return "", err
	}
	address := "https://" + net.JoinHostPort(domain, port) + "/"
	r, err := client.Get(address)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	policy := r.Header.Get("Content-Security-Policy")
	if r.StatusCode != http.StatusOK || !strings.Contains(policy, "script-src 'self'") {
		return "", fmt.Errorf("GET %s: %s, with the policy %q", address, r.Status, policy)
	}
	return address, nil
}

func silentAndRefusing(s *story) error {
	silent, err := listenRudely(s.Nodes[1].SIMPS, s.CA, domain, "dora@"+domain, password, "")
	if err != nil {
		return err
	}
	defer silent.leave()
	if err := s.sends(s.Nodes[0], "alice", "dora", 201, "--timeout", "1s"); err != nil {
		return err
	}
	say("Dora's client takes the message and never answers: 201, in doubt. Nobody is told that it was delivered. simp exits 4.")
	refusing, err := listenRudely(s.Nodes[2].SIMPS, s.CA, domain, "emil@"+domain, password, "486 :not now")
	if err != nil {
		return err
	}
	defer refusing.leave()
	if err := s.sends(s.Nodes[0], "alice", "emil", 486); err != nil {
		return err
	}
	say("Emil's client refuses: 486, in its own words. simp exits 1.")
	return nil
}

// killListener kills the node that holds bob, who comes back elsewhere.
func killListener(s *story) error {
	s.Nodes[1].Kill()
	s.bob.Kill()
	begun := time.Now()
	say("kill -9 of n2, and of Bob's client with it.")
	if err := s.tellsTheTruth(s.Nodes[0], "alice", "bob"); err != nil {
		return err
	}
	if err := s.carolSees("deaf"); err != nil {
		return err
	}
	say("Carol, on n3, sees Bob deaf after %.1f s.", time.Since(begun).Seconds())
	if err := s.sends(s.Nodes[0], "alice", "bob", 480); err != nil {
		return err
	}
	say("Alice is told again that he does not listen: 480.")
	if err := s.bobListens(s.Nodes[2]); err != nil {
		return err
	}
	if err := s.bobHears(s.Nodes[0], "back again?"); err != nil {
		return err
	}
	say("Bob listens on n3 now, Carol sees him, and Alice's next message is 200.")
	return s.comesBack(s.Nodes[1])
}

// comesBack starts a node again, with what is on its disk.
func (s *story) comesBack(n *site.Node) error {
	if err := n.Begin(); err != nil {
		return err
	}
	if err := n.Ready(site.Patience); err != nil {
		return err
	}
	say("%s is started again, with what is on its disk, and takes clients.", n.ID)
	return nil
}

// killLeader kills the node that leads; bob and carol go elsewhere by
// themselves if it was theirs.
func killLeader(s *story) error {
	leader, err := s.leader()
	if err != nil {
		return err
	}
	say("%s leads. kill -9 of %s.", leader.ID, leader.ID)
	leader.Kill()
	begun := time.Now()
	var rest []*site.Node
	for _, n := range s.Nodes {
		if n != leader {
			rest = append(rest, n)
		}
	}
	s.bob.Kill()
	if err := s.bobListensAgain(rest[1]); err != nil {
		return err
	}
	say("Bob listens on %s: a new leader has taken that down after %.1f s.", rest[1].ID, time.Since(begun).Seconds())
	if err := s.bobHears(rest[0], "is anybody there?"); err != nil {
		return err
	}
	say("Alice sends from %s: 200.", rest[0].ID)
	if err := s.comesBack(leader); err != nil {
		return err
	}
	return s.allKnowBob()
}

// allKnowBob asks each node for itself.
func (s *story) allKnowBob() error {
	for _, n := range s.Nodes {
		args := append(s.Person(n, "alice"), "query", "--fresh", "bob@"+domain)
		code, said, err := s.Run("", "simp", args...)
		if err != nil || code != 0 || !strings.Contains(said, "available") {
			return fmt.Errorf("%s says of bob %q (exit code %d, %v)", n.ID, said, code, err)
		}
	}
	say("Each of the three nodes, asked for itself, says that Bob is available.")
	return nil
}

// stopInOrder ends a node as an operator would.
func stopInOrder(s *story) error {
	n := s.Nodes[0]
	if err := n.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.Done():
	case <-time.After(site.Patience):
		return errors.New("n1 does not end after SIGTERM")
	}
	if code := n.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("n1 ends with %d after SIGTERM:\n%s", code, n.Said())
	}
	say("SIGTERM to n1: it sends its clients away, hands over what it leads, and exits 0.")
	return nil
}
