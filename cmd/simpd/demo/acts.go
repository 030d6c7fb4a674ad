package main

import (
	"fmt"
	"strings"
)

// sends has a user send to another and checks how simp exits: 0 delivered,
// 3 not listening, 4 in doubt, 1 other failures.
func (s *story) sends(n *siteNode, from, to string, want int, flags ...string) error {
	code, said, err := s.send(n, from, to, "hello", flags...)
	if err == nil && code != want {
		err = fmt.Errorf("%s sends to %s: exit code %d, not %d: %s", from, to, code, want, said)
	}
	return err
}

func (s *story) send(n *siteNode, from, to, text string, flags ...string) (int, string, error) {
	args := append(s.person(n, from), "send")
	args = append(append(args, flags...), to+"@"+domain, text)
	return s.run("", "simp", args...)
}

// bobListens starts bob's client on a node; carol sees him.
func (s *story) bobListens(n *siteNode) error {
	if err := s.bobListensAgain(n); err != nil {
		return err
	}
	return s.carolSees("available")
}

// bobListensAgain starts bob's client and waits until it listens.
func (s *story) bobListensAgain(n *siteNode) (err error) {
	if s.bob, err = s.start("simp", append(s.person(n, "bob"), "listen")...); err != nil {
		return err
	}
	s.heard = 0
	_, _, err = s.bob.await(0, "listening")
	return err
}

// bobHears has alice send bob a text, which arrives and is delivered.
func (s *story) bobHears(n *siteNode, text string) error {
	code, said, err := s.send(n, "alice", "bob", text)
	if err == nil && code != 0 {
		err = fmt.Errorf("alice sends to bob: exit code %d: %s", code, said)
	}
	if err != nil {
		return err
	}
	line, next, err := s.bob.await(s.heard, text)
	if err != nil {
		return err
	}
	s.heard = next
	say("    bob's terminal:   %s", strings.TrimSpace(line))
	return nil
}

// carolSees waits for the next thing that carol is shown of bob.
func (s *story) carolSees(state string) error {
	line, next, err := s.carol.await(s.seen, "bob@"+domain)
	if err != nil {
		return err
	}
	if !strings.Contains(line, state) {
		return fmt.Errorf("carol sees %q, and bob is %s", line, state)
	}
	s.seen = next
	say("    carol's terminal: %s", strings.TrimSpace(line))
	return nil
}

// tellsTheTruth has a user send to somebody whose node has just died: until
// the site knows, that is 503 or 201; then it is 480. Delivered would be a lie.
func (s *story) tellsTheTruth(n *siteNode, from, to string) error {
	code, said, err := s.send(n, from, to, "are you there?", "--timeout", "2s")
	if err != nil {
		return err
	}
	if code == 0 {
		return fmt.Errorf("a message to a dead node is told to be delivered: %s", said)
	}
	say("Alice sends to him at once, and is told the truth: %q (exit code %d).", said, code)
	return nil
}

// leader asks the operator's client who leads.
func (s *story) leader() (*siteNode, error) {
	code, said, err := s.simpctl(s.nodes[0], "", "status", "--output", "json")
	if err != nil || code != 0 {
		return nil, fmt.Errorf("simpctl status: exit code %d, %v: %s", code, err, said)
	}
	for _, n := range s.nodes {
		if strings.Contains(strings.ReplaceAll(said, " ", ""), `"leader":"`+n.id+`"`) {
			return n, nil
		}
	}
	return nil, fmt.Errorf("simpctl status names no leader: %s", said)
}
