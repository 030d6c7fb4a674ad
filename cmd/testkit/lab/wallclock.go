package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"simpd/cmd/testkit/site"
)

// shiftVariable names the file that says by how many seconds a node's wall clock
// is off.
const shiftVariable = "WALL_CLOCK_SHIFT"

// shiftSource is a file for Go's package time, which reads that.
//
//go:embed testdata/wallshift.go
var shiftSource []byte

// steps are those that a wall clock is set by: of an hour, as by somebody who
// mistakes the time zone; of three years, as by a wrong NTP server, for which
// certificates have ended; to 1970, as by a battery that is empty.
var steps = map[string]time.Duration{
	"+1 h": time.Hour, "-1 h": -time.Hour, "+3 years": 3 * 365 * 24 * time.Hour, "-56 years": -56 * 365 * 24 * time.Hour,
}

// stepNames are their names, in an order that a seed can rely on.
var stepNames = []string{"+1 h", "-1 h", "+3 years", "-56 years"}

// clockFaults step wall clocks, and have nodes elect and start meanwhile.
func clockFaults() []injector {
	return []injector{
		{"wall clock", stepOne, 0, 8 * time.Second, true},
		{"wall clock of the leader", stepLeader, 0, 8 * time.Second, true},
		{"wall clock, to and fro", swing, 2 * time.Second, 8 * time.Second, true},
		{"wall clocks of all", stepAll, 0, 8 * time.Second, true},
		{"kill -9 of the leader", killLeader, 0, 4 * time.Second, false},
		{"SIGTERM", terminate, 0, time.Second, false},
		{"leader transfer", transfer, 0, 0, false},
	}
}

func stepOne(l *lab) ([]int, string, func() error, error)    { return l.step(l.someNode()) }
func stepLeader(l *lab) ([]int, string, func() error, error) { return l.step(l.leader()) }
func stepAll(l *lab) ([]int, string, func() error, error)    { return l.step(l.site.Nodes...) }

// step sets the wall clocks of some nodes, each by another step, until it ends.
// A clock that another fault has set is left alone.
func (l *lab) step(nodes ...*site.Node) ([]int, string, func() error, error) {
	nodes = l.takeClocks(nodes...)
	var said []string
	for _, n := range nodes {
		name := stepNames[l.intN(len(stepNames))]
		said = append(said, n.ID+" "+name)
		if err := l.setClock(n, steps[name]); err != nil {
			return nil, "", nil, err
		}
		if err := l.awaitClock(n, steps[name]); err != nil {
			return nil, "", nil, err
		}
	}
	return numbers(nodes), strings.Join(said, ", "), func() error { return l.returnClocks(nodes...) }, nil
}

// swing steps a node's wall clock again and again, and then back.
func swing(l *lab) ([]int, string, func() error, error) {
	nodes := l.takeClocks(l.someNode())
	if len(nodes) == 0 {
		return nil, "", func() error { return nil }, nil
	}
	over, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil && !closed(over); i++ {
			err = l.setClock(nodes[0], steps[stepNames[i%len(stepNames)]])
			l.pauseFor(300 * time.Millisecond)
		}
		ended <- err
	}()
	return numbers(nodes), nodes[0].ID, func() error {
		close(over)
		if err := <-ended; err != nil {
			return err
		}
		return l.returnClocks(nodes...)
	}, nil
}

// takeClocks returns those of the nodes whose clock no other fault has set.
func (l *lab) takeClocks(nodes ...*site.Node) (free []*site.Node) {
	for _, n := range nodes {
		if !l.stepped[n.Number] {
			l.stepped[n.Number] = true
			free = append(free, n)
		}
	}
	return free
}

// returnClocks sets the clocks of nodes right.
func (l *lab) returnClocks(nodes ...*site.Node) error {
	for _, n := range nodes {
		if err := l.setClock(n, 0); err != nil {
			return err
		}
		delete(l.stepped, n.Number)
	}
	return nil
}

// setClock sets a node's wall clock. The node looks at the file again and again.
func (l *lab) setClock(n *site.Node, shift time.Duration) error {
	temporary := l.shiftFile(n.Number) + ".new"
	if err := os.WriteFile(temporary, []byte(strconv.FormatInt(int64(shift/time.Second), 10)), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, l.shiftFile(n.Number))
}

// awaitClock waits until a node shows its wall clock to be off so far, unless
// another fault is on the node.
func (l *lab) awaitClock(n *site.Node, shift time.Duration) error {
	if l.struck[n.Number] || ended(n) {
		return nil
	}
	for limit := time.Now().Add(recovery); time.Now().Before(limit); l.pauseFor(5 * time.Millisecond) {
		if shown, ok := shownClock(n); !ok || (shown-shift).Abs() < time.Minute {
			return nil
		}
	}
	return fmt.Errorf("%s does not show a wall clock that is off by %v", n.ID, shift)
}

// shownClock returns by how much a node's wall clock is off, as HTTP's Date shows.
func shownClock(n *site.Node) (shift time.Duration, ok bool) {
	c := http.Client{Timeout: 3 * time.Second}
	defer c.CloseIdleConnections()
	answer, err := c.Get("http://" + n.HTTP + "/healthz")
	if err != nil {
		return 0, false
	}
	defer answer.Body.Close()
	at, err := http.ParseTime(answer.Header.Get("Date"))
	return time.Until(at), err == nil
}

func (p *plan) shiftFile(number int) string {
	return filepath.Join(p.dir, fmt.Sprintf("clock-n%d", number))
}

// buildShifted builds a simpd whose wall clock a file sets, with Go's package
// time changed in one line: of a process alone no other can be had. The monotonic
// clock stays as it is. It returns the program's folder, if the faults need one.
func (o *options) buildShifted() (dir string, err error) {
	if o.faults != "clocks" {
		return "", nil
	}
	if dir, err = os.MkdirTemp(o.keep, "simpd-shifted-"); err != nil {
		return "", err
	}
	overlay, err := overlayTime(dir)
	if err != nil {
		return dir, err
	}
	_, err = site.Output(exec.Command("go", "build", "-overlay", overlay, "-o", dir+"/", "simpd/cmd/simpd"), site.LongestBuild)
	return dir, err
}

// overlayTime writes the changed package, and returns the file that has go build
// take it in the place of the standard library's.
func overlayTime(dir string) (overlay string, err error) {
	const now = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	root, err := site.Output(exec.Command("go", "env", "GOROOT"), site.Longest)
	if err != nil {
		return "", err
	}
	source := filepath.Join(strings.TrimSpace(root), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	if strings.Count(string(text), now) != 1 {
		return "", fmt.Errorf("%s is not as this laboratory knows it: it can't shift the wall clock", source)
	}
	changed := strings.Replace(string(text), now, now+"\tsec += wallShift.Load()\n", 1)
	replace := map[string]string{}
	for name, content := range map[string][]byte{"time.go": []byte(changed), "wallshift.go": shiftSource} {
		copied := filepath.Join(dir, name)
		if err := os.WriteFile(copied, content, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(filepath.Dir(source), name)] = copied
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, content, 0o600)
}
