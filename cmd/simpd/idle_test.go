package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"simpd/cmd/testkit/site"
)

var (
	idleSessions = flag.Int("idle", 100, "how many idle sessions a node has when it is drained")
	idleTLS      = flag.Bool("idle-tls", false, "whether these sessions and the nodes use TLS")
	drainLimit   = flag.Duration("idle-drain-timeout", 30*time.Second, "the nodes' --drain-timeout meanwhile")
	idleUrgent   = flag.Bool("idle-realtime", false, "whether nodes and pair run with real-time priority, so that nothing else on the machine counts")
	idleRise     = flag.Float64("idle-rise", 0, "to how many times what it was the p99 of messages may rise; 0: not checked")
)

// TestDrainIdle: a node full of idle sessions is stopped within its
// drain-timeout, everybody has moved, and what the others' clients say to each
// other goes on as before.
//
// The idle clients are a process of their own that has only what processor
// time the nodes leave, as they would be elsewhere; the pair that is measured
// is another, which is not starved.
func TestDrainIdle(t *testing.T) {
	s := startIdleSite(t)
	crowd := startIdlers(t, s, *idleSessions)
	p := startPair(t, s)
	before := p.measure(5 * time.Second)
	begun, spent := time.Now(), processorTime(t, s)
	stop(t, s.Nodes[0])
	took := time.Since(begun)
	during := p.mark()
	spent = processorTime(t, s) - spent
	moved, lost := crowd.count()
	rise := float64(during.P99) / float64(before.P99)
	t.Logf("%d sessions left in %v; messages between the other nodes: %v before, %v meanwhile: p99 × %.2f; the nodes that stay used %v of processor time",
		*idleSessions, took.Round(time.Millisecond), before, during, rise, spent)
	if *idleRise > 0 && rise > *idleRise {
		t.Errorf("the p99 of messages rose to %.2f times what it was", rise)
	}
	if lost > 0 || moved != *idleSessions || took > 30*time.Second {
		t.Errorf("%d sessions were lost and %d have moved, in %v", lost, moved, took)
	}
	if before.Failed+during.Failed > 0 {
		t.Errorf("%d messages failed", before.Failed+during.Failed)
	}
}

// startIdleSite starts three nodes, and makes the accounts of the crowd and the pair.
func startIdleSite(t *testing.T) *site.Site {
	t.Helper()
	program, err := exec.LookPath("simpd")
	if err != nil {
		t.Fatal(err)
	}
	s, err := site.New(site.Config{
		Bin: filepath.Dir(program), Dir: t.TempDir(), Nodes: 3, Password: testPassword, Insecure: !*idleTLS,
		Flags: []string{"--drain-timeout=" + drainLimit.String()}, Within: func(int) []string { return urgently() },
	})
	t.Cleanup(func() { _ = s.Close() })
	if err == nil {
		err = s.BeginAll()
	}
	if err == nil {
		err = s.AddUsers(s.Nodes[0], append(idleNames(*idleSessions), "from", "to")...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// urgently is what runs a program with the priority that nodes and pair have.
func urgently() []string {
	if *idleUrgent {
		return []string{"chrt", "--rr", "1"}
	}
	return nil
}

// sessionsOfOne is how many idle sessions each user has.
const sessionsOfOne = 10

func idleNames(sessions int) (names []string) {
	for u := range (sessions + sessionsOfOne - 1) / sessionsOfOne {
		names = append(names, fmt.Sprintf("idle%d", u))
	}
	return names
}

// crowdProcess is the program idlers.
type crowdProcess struct{ *process }

func startIdlers(t *testing.T, s *site.Site, sessions int) *crowdProcess {
	t.Helper()
	t.Setenv("SIMP_PASSWORD", testPassword)
	p := &crowdProcess{start(t, "nice", "-n", "19", "idlers", s.Nodes[0].SIMP, s.CA, strconv.Itoa(sessions))}
	p.await(p.out, "all listen")
	return p
}

// count returns how many have moved, and how many connections were lost.
func (p *crowdProcess) count() (moved, lost int) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in); err != nil {
		p.t.Fatal(err)
	}
	if _, err := fmt.Sscanf(p.await(p.out, "moved"), "moved %d, lost %d", &moved, &lost); err != nil {
		p.t.Fatal(err)
	}
	return moved, lost
}

// pairProcess is the program pair.
type pairProcess struct {
	*process
	read int // lines
}

func startPair(t *testing.T, s *site.Site) *pairProcess {
	t.Helper()
	line := append(urgently(), "pair", s.Nodes[1].SIMP, s.Nodes[2].SIMP, s.CA)
	p := &pairProcess{process: start(t, line[0], line[1:]...)}
	p.await(p.out, "chatting")
	return p
}

// measure returns how it went for so long from now on.
func (p *pairProcess) measure(d time.Duration) pace {
	p.t.Helper()
	p.mark()
	<-time.After(d)
	return p.mark()
}

// mark returns how it went since the last mark.
func (p *pairProcess) mark() (last pace) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.in); err != nil {
		p.t.Fatal(err)
	}
	var line string
	line, p.read = p.awaitFrom(p.out, "{", p.read)
	if err := json.NewDecoder(strings.NewReader(line)).Decode(&last); err != nil {
		p.t.Fatal(err)
	}
	return last
}

// processorTime is what the nodes other than the first have used.
func processorTime(t *testing.T, s *site.Site) (used time.Duration) {
	t.Helper()
	for _, n := range s.Nodes[1:] {
		used += processTime(t, pid(n))
	}
	return used
}

// processTime returns the processor time that a process has used.
func processTime(t *testing.T, pid int) (used time.Duration) {
	t.Helper()
	const user, system, perSecond = 13, 14, 100 // proc_pid_stat(5)
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(string(b))
	for _, w := range []string{words[user], words[system]} {
		ticks, err := strconv.Atoi(w)
		if err != nil {
			t.Fatal(err)
		}
		used += time.Duration(ticks) * time.Second / perSecond
	}
	return used
}
