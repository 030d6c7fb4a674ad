package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"simpd/cmd/testkit/site"
)

// maxAnswer limits the time in which a login is answered: 3 s for the sources,
// and something for a busy machine.
const maxAnswer = 3*time.Second + 500*time.Millisecond

// tryFailover has the first server answer nothing, and then end.
func (t *trial) tryFailover() error {
	first := t.servers[0]
	if err := first.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for round := range 2 {
		for _, n := range t.Nodes {
			answer, took, err := t.byPassword(n, "dora", password)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(answer, "200") || took > maxAnswer {
				return fmt.Errorf("round %d: %s answers %q after %v", round, n.ID, answer, took)
			}
			fmt.Printf("     %s: %v\n", n.ID, took.Round(time.Millisecond))
		}
		first.stop()
	}
	return nil
}

// tryLongOutage stops the directory for a time, while users log in.
func (t *trial) tryLongOutage(length time.Duration) error {
	var listeners []*site.Program
	for _, n := range t.Nodes {
		if err := t.awaitLogin(n, "erik"); err != nil {
			return err
		}
		p, err := t.Start("simp", append(t.Person(n, "erik"), "listen")...)
		if err != nil {
			return err
		}
		if _, _, err := p.Await(0, "is listening"); err != nil {
			return err
		}
		listeners = append(listeners, p)
	}
	app, err := os.ReadFile(t.app)
	if err != nil {
		return err
	}
	t.stopServers()
	told := map[string]int{}
	end := time.Now().Add(length)
	for i := 0; time.Now().Before(end); i++ {
		kind := []string{"right", "wrong", "app"}[i/3%3]
		given := map[string]string{"right": password, "wrong": "wrong", "app": strings.TrimSpace(string(app))}[kind]
		answer, took, err := t.byPassword(t.Nodes[i%3], "erik", given)
		if err != nil {
			return err
		}
		want := "503"
		if kind == "app" {
			want = "200"
		}
		if !strings.HasPrefix(answer, want) || took > maxAnswer {
			return fmt.Errorf("a login with the %s password at %s is answered %q after %v", kind, t.Nodes[i%3].ID, answer, took)
		}
		told[kind+" "+answer[:3]]++
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Println("     logins while it was stopped:", told)
	for _, p := range listeners {
		select {
		case <-p.Done():
			return fmt.Errorf("a session has ended: %s", p.Said())
		default:
		}
	}
	if err := t.servers[0].start(); err != nil {
		return err
	}
	return t.awaitLogin(t.Nodes[1], "erik")
}

// awaitLogin waits until a user can log in at a node again.
func (t *trial) awaitLogin(n *site.Node, user string) error {
	for deadline := time.Now().Add(site.Patience); ; time.Sleep(100 * time.Millisecond) {
		answer, _, err := t.byPassword(n, user, password)
		if err != nil || strings.HasPrefix(answer, "200") {
			return err
		}
		if !strings.HasPrefix(answer, "503") || time.Now().After(deadline) {
			return fmt.Errorf("a login at %s is answered %q", n.ID, answer)
		}
	}
}
