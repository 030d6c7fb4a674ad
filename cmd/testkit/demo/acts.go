package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"simpd/cmd/testkit/site"
)

// sends has a user send to another, and checks the status, and that simp exits
// as it should: with 0 if delivered, 3 if nobody listens, 4 if in doubt, and 1
// otherwise.
func (s *story) sends(n *site.Node, from, to string, want int, flags ...string) error {
	status, said, err := s.send(n, from, to, "hello", flags...)
	if err == nil && status != want {
		err = fmt.Errorf("%s sends to %s: status %d, not %d: %s", from, to, status, want, said)
	}
	return err
}

func (s *story) send(n *site.Node, from, to, text string, flags ...string) (status int, said string, err error) {
	args := append(s.Person(n, from), "--output", "json", "send")
	args = append(append(args, flags...), to+"@"+domain, text)
	code, said, err := s.Run("", "simp", args...)
	if err != nil {
		return 0, said, err
	}
	var report struct {
		Status     int
		Recipients []struct{ Text string }
	}
	if err := json.Unmarshal([]byte(said), &report); err != nil {
		return 0, said, fmt.Errorf("simp send says %q: %w", said, err)
	}
	if want := exitCode(report.Status); code != want {
		return 0, said, fmt.Errorf("simp exits %d and not %d after status %d", code, want, report.Status)
	}
	if len(report.Recipients) == 1 {
		said = report.Recipients[0].Text
	}
	return report.Status, said, nil
}

// exitCode maps an outcome to the exit code of simp send.
func exitCode(status int) int {
	switch status {
	case 200:
		return 0
	case 480:
		return 3
	case 201:
		return 4
	}
	return 1
}

// bobListens starts bob's client on a node; carol sees him.
func (s *story) bobListens(n *site.Node) error {
	if err := s.bobListensAgain(n); err != nil {
		return err
	}
	return s.carolSees("available")
}

// bobListensAgain starts bob's client and waits until it listens.
func (s *story) bobListensAgain(n *site.Node) (err error) {
	if s.bob, err = s.Start("simp", append(s.Person(n, "bob"), "listen")...); err != nil {
		return err
	}
	s.heard = 0
	_, _, err = s.bob.Await(0, "listening")
	return err
}

// bobHears has alice send bob a text, which arrives and is delivered.
func (s *story) bobHears(n *site.Node, text string) error {
	status, said, err := s.send(n, "alice", "bob", text)
	if err == nil && status != 200 {
		err = fmt.Errorf("alice sends to bob: status %d: %s", status, said)
	}
	if err != nil {
		return err
	}
	line, next, err := s.bob.Await(s.heard, text)
	if err != nil {
		return err
	}
	s.heard = next
	say("    bob's terminal:   %s", strings.TrimSpace(line))
	return nil
}

// carolSees waits for the next thing that carol is shown of bob.
func (s *story) carolSees(state string) error {
	line, next, err := s.carol.Await(s.seen, "bob@"+domain)
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
func (s *story) tellsTheTruth(n *site.Node, from, to string) error {
	status, said, err := s.send(n, from, to, "are you there?", "--timeout", "2s")
	if err != nil {
		return err
	}
	if !slices.Contains([]int{201, 480, 503}, status) {
		return fmt.Errorf("a message to a dead node ends with %d: %s", status, said)
	}
	say("Alice sends to him at once, and is told the truth: %d, %s.", status, said)
	return nil
}

// leader asks the operator's client who leads.
func (s *story) leader() (*site.Node, error) {
	code, said, err := s.Simpctl(s.Nodes[0], "status", "--output", "json")
	if err != nil || code != 0 {
		return nil, fmt.Errorf("simpctl status: exit code %d, %v: %s", code, err, said)
	}
	for _, n := range s.Nodes {
		if strings.Contains(strings.ReplaceAll(said, " ", ""), `"leader":"`+n.ID+`"`) {
			return n, nil
		}
	}
	return nil, fmt.Errorf("simpctl status names no leader: %s", said)
}
