package main

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// watcher watches all users through one node.
type watcher struct {
	*lab
	name string
	node int
}

func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !w.watch(ctx) {
			wait.Sleep(ctx, 100*time.Millisecond)
		}
	}
}

// watch is one connection.
func (w *watcher) watch(ctx context.Context) bool {
	v := &view{Node: w.node}
	c, err := w.dial(w.node, w.name, func(l *protocol.Line, _ []byte, at time.Duration) { w.note(v, l, at) })
	if err != nil {
		w.refuse("login " + kind(err))
		return false
	}
	defer c.Close()
	v.Conn = c.Number
	answered := make(chan bool, 1)
	var all strings.Builder
	for _, u := range w.users {
		all.WriteString(" ima=" + w.address(u))
	}
	said := c.Request("WATCH"+all.String(), nil, func(lines []protocol.Line, at time.Duration) { answered <- w.begin(v, lines, at) })
	if !said || !<-answered {
		return false
	}
	select {
	case <-ctx.Done():
	case <-c.Moved:
		w.history.locked(func() { v.Ended = true })
	case <-c.Gone:
		w.history.locked(func() { v.Ended = true })
	}
	return true
}

// begin notes the answer to WATCH. It is called by the reader, before it reads
// the first notice.
func (w *watcher) begin(v *view, lines []protocol.Line, at time.Duration) bool {
	if len(lines) == 0 || !lines[len(lines)-1].Status.OK() {
		w.refuse("WATCH")
		return false
	}
	v.From = number(&lines[len(lines)-1], "index")
	for i := range lines[:len(lines)-1] {
		v.Notices = append(v.Notices, noticeOf("100", &lines[i], at))
	}
	w.history.locked(func() { w.history.Views = append(w.history.Views, v) })
	return true
}

func (w *watcher) note(v *view, l *protocol.Line, at time.Duration) {
	switch l.Verb {
	case "PRESENCE", "STALE", "FRESH":
		w.history.locked(func() { v.Notices = append(v.Notices, noticeOf(l.Verb, l, at)) })
	}
}

func noticeOf(kind string, l *protocol.Line, at time.Duration) notice {
	n := notice{Kind: kind, Index: number(l, "index"), At: at}
	n.IMA, _ = l.Get("ima")
	n.State, _ = l.Get("state")
	n.Note, _ = l.Get("note")
	return n
}

// asker asks one node again and again for the newest of somebody.
type asker struct {
	*lab
	r     *rand.Rand
	name  string
	node  int
	pause time.Duration
}

func (a *asker) run(ctx context.Context) {
	for ctx.Err() == nil {
		c, err := a.dial(a.node, a.name, nil)
		if err != nil {
			a.refuse("login " + kind(err))
			wait.Sleep(ctx, 100*time.Millisecond)
			continue
		}
		for ctx.Err() == nil && !c.IsOver() && !closed(c.Moved) {
			a.query(c)
			wait.Sleep(ctx, time.Duration(a.r.Int64N(int64(2*a.pause))))
		}
		c.Close()
	}
}

func (a *asker) query(c *conn) {
	user := a.someone(a.r)
	got, err := c.Ask("QUERY fresh=yes ima="+a.address(user), nil)
	if err != nil || len(got.Lines) != 2 {
		a.refuse("QUERY " + kind(err))
		return
	}
	n := noticeOf("", &got.Lines[0], 0)
	q := asking{User: user, State: n.State, Note: n.Note, Node: a.node, Index: number(got.Final(), "index"), Call: got.Call, Back: got.Back}
	a.history.locked(func() { a.history.Asked = append(a.history.Asked, q) })
}
