package main

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"simpd/cmd/testkit/site"
	"simpd/protocol"
)

const (
	appOwners   = 6
	appKills    = 4
	appsAtATime = 8 // app passwords of an owner, at most
	appsBetween = 60
)

// appOwner is a user who adds and removes app passwords on nodes that are killed.
type appOwner struct {
	name  string
	nodes []string // addresses

	ids  map[string]string // of the app passwords that were certainly added, by name
	gone map[string]bool   // that were certainly removed, by name
}

// open logs the owner in at a node.
func (o *appOwner) open(address string) (net.Conn, *bufio.Scanner, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines := bufio.NewScanner(conn)
	for _, request := range []string{"HELLO version=SIMP/1.1", "AUTH mech=PLAIN data=" + b64("\x00"+o.name+"\x00"+testPassword)} {
		answer, err := say(conn, lines, "l", request)
		if err == nil && !strings.HasPrefix(answer, "200") {
			err = fmt.Errorf("%s", answer)
		}
		if err != nil {
			conn.Close()
			return nil, nil, err
		}
	}
	return conn, lines, nil
}

// work adds and removes app passwords at one node after the other until stop is
// closed. It calls acknowledged for each change that was.
func (o *appOwner) work(stop <-chan struct{}, acknowledged func()) {
	for i := 0; !done(stop); {
		conn, lines, err := o.open(o.nodes[rand.IntN(len(o.nodes))])
		for err == nil && !done(stop) {
			i++
			err = o.change(conn, lines, fmt.Sprint("p", i), acknowledged)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// change adds an app password, or removes one if there are many. After an error
// nothing is known of what it was about.
func (o *appOwner) change(conn net.Conn, lines *bufio.Scanner, name string, acknowledged func()) error {
	if len(o.ids) < appsAtATime {
		answer, err := say(conn, lines, "a", "APP add="+name)
		if err == nil && strings.HasPrefix(answer, "200 id=") {
			id, _, _ := strings.Cut(strings.TrimPrefix(answer, "200 id="), " ")
			o.ids[name] = id
			acknowledged()
			return nil
		}
		return fmt.Errorf("add: %s, %v", answer, err)
	}
	removed := slices.Collect(maps.Keys(o.ids))[0]
	id := o.ids[removed]
	delete(o.ids, removed)
	answer, err := say(conn, lines, "r", "APP remove="+id)
	if err != nil || !strings.HasPrefix(answer, "200") {
		return fmt.Errorf("remove: %s, %v", answer, err)
	}
	o.gone[removed] = true
	acknowledged()
	return nil
}

// listed returns the names of the owner's app passwords at a node.
func (o *appOwner) listed(address string) (names []string, err error) {
	conn, lines, err := o.open(address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "a APP\r\n"); err != nil {
		return nil, err
	}
	for lines.Scan() {
		var l protocol.Line
		if err := protocol.ParseLine(lines.Text(), &l); err != nil {
			return nil, err
		}
		if l.Status == protocol.StatusOK {
			return names, nil
		}
		names = append(names, param(l, "name"))
	}
	return nil, fmt.Errorf("the list ends: %w", lines.Err())
}

// Nodes are killed one after the other while users add and remove app passwords
// on all of them. In the end each node has all that were added, and none that
// was removed, of those that somebody was told of.
func TestKillsOfNodesKeepAppPasswords(t *testing.T) {
	name, value, _ := strings.Cut(site.Unlimited, "=")
	t.Setenv(name, value)
	nodes, args := startInsecureSite(t, t.TempDir())
	var addresses, users []string
	for _, n := range nodes {
		addresses = append(addresses, n.address("simp-listen"))
	}
	var owners []*appOwner
	for i := range appOwners {
		users = append(users, fmt.Sprint("u", i))
		owners = append(owners, &appOwner{name: fmt.Sprintf("u%d@example.com", i), nodes: addresses, ids: map[string]string{}, gone: map[string]bool{}})
	}
	nodes[0].addUsers(users...)
	changes, stop := make(chan struct{}), make(chan struct{})
	acknowledged := func() {
		select {
		case changes <- struct{}{}:
		case <-stop:
		}
	}
	var all sync.WaitGroup
	for _, o := range owners {
		all.Go(func() { o.work(stop, acknowledged) })
	}
	for i := range appKills {
		for range appsBetween {
			<-changes
		}
		killed := i % len(nodes)
		nodes[killed].signal(syscall.SIGKILL)
		nodes[killed].exit()
		for range appsBetween { // without the node
			<-changes
		}
		nodes[killed] = &testNode{start(t, "simpd", args[killed]...), nodes[killed].id, nodes[killed].dir}
	}
	close(stop)
	join(t, "the users stop", &all)
	added, removed := 0, 0
	for i, n := range nodes {
		n.await(n.err, "msg=ready")
		for _, o := range owners {
			var names []string
			eventually(t, o.name+" lists at "+n.id, func() (ok bool) {
				var err error
				names, err = o.listed(addresses[i])
				return err == nil
			})
			added, removed = added+len(o.ids), removed+len(o.gone)
			for name := range o.ids {
				if !slices.Contains(names, name) {
					t.Errorf("%s at %s: %s was added, and is lost", o.name, n.id, name)
				}
			}
			for _, name := range names {
				if o.gone[name] {
					t.Errorf("%s at %s: %s was removed, and is back", o.name, n.id, name)
				}
			}
		}
	}
	t.Logf("checked %d added and %d removed app passwords", added, removed)
	if added == 0 || removed == 0 {
		t.Error("too little has happened")
	}
}
