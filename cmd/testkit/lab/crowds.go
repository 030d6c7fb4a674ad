package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/cmd/testkit/wire"
	"simpd/protocol"
)

const (
	stuckReaders  = 1000
	silentClients = 15_000

	flooders   = 4
	floodPause = flooders * time.Millisecond
)

// measureCrowds has many clients do what no client should, and measures what
// that costs the node and others.
func measureCrowds(l *lab, w io.Writer) error {
	n := l.site.Nodes[0]
	users := []string{"pitcher", "catcher"}
	for i := range stuckReaders {
		users = append(users, fmt.Sprintf("stuck%d", i))
	}
	if err := l.site.AddUsers(n, users...); err != nil {
		return err
	}
	// First, as the others leave a heap behind; and twice, as the first shows
	// what a node takes that has had no clients yet, the second what is left.
	for range 2 {
		if err := l.silent(n, w); err != nil {
			return err
		}
	}
	if err := l.stuck(n, w); err != nil {
		return err
	}
	return l.survives(n)
}

// cost holds the resources that a process uses.
type cost struct{ rss, fds, goroutines int }

func (l *lab) cost(n *site.Node) cost {
	var c cost
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.Process.Pid))
	if m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(status); m != nil {
		c.rss, _ = strconv.Atoi(string(m[1]))
	}
	open, _ := os.ReadDir(filepath.Join("/proc", fmt.Sprint(n.Process.Pid), "fd"))
	c.fds = len(open)
	_, said := measures(n)
	if m := regexp.MustCompile(`\ngo_goroutines (\d+)`).FindStringSubmatch(said); m != nil {
		c.goroutines, _ = strconv.Atoi(m[1])
	}
	return c
}

func (c cost) String() string {
	return fmt.Sprintf("%d MiB resident, %d descriptors, %d goroutines", c.rss>>10, c.fds, c.goroutines)
}

// stuck has clients listen and never read again while they are sent to. What
// that costs others is held against what it costs them to have the same
// clients sent the same while they read.
func (l *lab) stuck(n *site.Node, w io.Writer) error {
	before, quiet := l.cost(n), l.delays(n, 5*time.Second)
	busy, _, _, err := l.crowd(n, false)
	if err != nil {
		return err
	}
	stuck, outcomes, during, err := l.crowd(n, true)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d stuck readers: before %v; while they are sent to %v; outcomes %s\n", stuckReaders, before, during, list(outcomes))
	fmt.Fprintf(w, "  others' p99: with nothing else going on %v; while as many who read are sent as much %v; while these do not read %v, %.2f times that\n",
		quiet, busy, stuck, float64(stuck)/float64(busy))
	return nil
}

// crowd has the clients listen, all reading or none, and sends to them.
func (l *lab) crowd(n *site.Node, stuck bool) (others time.Duration, outcomes map[int]int, during cost, err error) {
	var open []*conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	hold := make(chan struct{})
	defer close(hold)
	for i := range stuckReaders {
		c, err := l.reader(n, i, stuck, hold)
		if err != nil {
			return 0, nil, cost{}, fmt.Errorf("reader %d: %w", i, err)
		}
		open = append(open, c)
	}
	stop := l.flood(n)
	others = l.delays(n, 20*time.Second)
	outcomes = stop()
	return others, outcomes, l.cost(n), nil
}

// reader is one of the crowd. One that is stuck reads nothing from its first
// message on until hold is closed.
func (l *lab) reader(n *site.Node, i int, stuck bool, hold chan struct{}) (c *conn, err error) {
	var once sync.Once
	c, err = l.dial(n.Number, fmt.Sprintf("stuck%d", i), func(m *protocol.Line, _ []byte, _ time.Duration) {
		switch {
		case m.Verb != "MESSAGE":
		case stuck:
			once.Do(func() { <-hold })
		default:
			c.Say(m.Tag, "200")
		}
	})
	if err != nil {
		return nil, err
	}
	if _, err := c.Ask("LISTEN", nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// flood sends to the stuck: a thousand messages a second, whether they are
// refused or not.
func (l *lab) flood(n *site.Node) (stop func() map[int]int) {
	over := make(chan struct{})
	outcomes := map[int]int{}
	var mu sync.Mutex
	var flooding sync.WaitGroup
	for i := range flooders {
		flooding.Go(func() {
			c, err := l.dial(1+i%3, fmt.Sprintf("sender%d", i), nil)
			if err != nil {
				return
			}
			defer c.Close()
			entity, window := []byte("\r\n"+strings.Repeat("x", 8<<10)), make(chan struct{}, 256)
			for k := 0; !closed(over); k++ {
				l.pauseFor(floodPause)
				window <- struct{}{}
				line := fmt.Sprintf("SEND to=%s timeout=1", l.address(fmt.Sprintf("stuck%d", (k*flooders+i)%stuckReaders)))
				said := c.Request(line, entity, func(lines []protocol.Line, _ time.Duration) {
					mu.Lock()
					defer mu.Unlock()
					<-window
					if len(lines) > 0 {
						outcomes[int(lines[len(lines)-1].Status)]++
					}
				})
				if !said {
					return
				}
			}
		})
	}
	return func() map[int]int {
		close(over)
		flooding.Wait()
		mu.Lock()
		defer mu.Unlock()
		return outcomes
	}
}

// delays is the p99 of the time in which two users at a node reach one another.
func (l *lab) delays(n *site.Node, lasts time.Duration) time.Duration {
	var catcher *conn
	catcher, err := l.dial(n.Number, "catcher", func(m *protocol.Line, _ []byte, _ time.Duration) {
		if m.Verb == "MESSAGE" {
			catcher.Say(m.Tag, "200")
		}
	})
	if err != nil {
		return 0
	}
	defer catcher.Close()
	pitcher, err := l.dial(n.Number, "pitcher", nil)
	if err != nil {
		return 0
	}
	defer pitcher.Close()
	_, _ = catcher.Ask("LISTEN", nil)
	var all []time.Duration
	for end := l.clock.Now() + lasts; l.clock.Now() < end; {
		a, err := pitcher.Ask("SEND to="+l.address("catcher"), []byte("\r\nhello"))
		if err == nil {
			all = append(all, a.Back-a.Call)
		}
		l.pauseFor(2 * time.Millisecond)
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// silent opens connections that say nothing, and looks at what is left of them.
func (l *lab) silent(n *site.Node, w io.Writer) error {
	before := l.cost(n)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for i := range silentClients {
		from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%100))}
		c, err := (&net.Dialer{LocalAddr: from, Timeout: wire.DialTimeout}).Dial("tcp", n.SIMP)
		if err != nil {
			return fmt.Errorf("silent connection %d: %w", i, err)
		}
		open = append(open, c)
	}
	during := l.cost(n)
	l.pauseFor(35 * time.Second) // who has not logged in is sent away after 30 s
	after := l.cost(n)
	// Go gives memory back to the system once there is nothing to do, bit by bit.
	for range 12 {
		l.pauseFor(5 * time.Second)
		was := after
		if after = l.cost(n); after.rss > was.rss*99/100 {
			break
		}
	}
	fmt.Fprintf(w, "%d silent connections: before %v; meanwhile %v; afterwards %v\n", silentClients, before, during, after)
	if after.fds > before.fds+50 || after.goroutines > before.goroutines+50 {
		return fmt.Errorf("silent connections leave something behind")
	}
	return nil
}
