package main

import (
	"fmt"
	"time"
)

// settle has some users listen once more, and waits until every node, every
// watcher and every consumer agree on everybody; then each user is sent to
// from each node, and the nodes' tables are held against one another.
func (l *lab) settle() error {
	listening := map[string]*ear{}
	for i, u := range l.users {
		if i%2 == 0 {
			continue
		}
		e, err := l.listenFinally(u)
		for limit := l.clock.Now() + settled; err != nil && l.clock.Now() < limit; {
			l.pauseFor(100 * time.Millisecond) // the site may be electing just now
			e, err = l.listenFinally(u)
		}
		if err != nil {
			return fmt.Errorf("in the end %s can't listen: %w", u, err)
		}
		listening[u] = e
		l.last = append(l.last, e)
	}
	if err := l.agree(listening); err != nil {
		return err
	}
	if err := l.reachAll(listening); err != nil {
		return err
	}
	return l.sameTables()
}

// listenFinally listens on some node until settle ends.
func (l *lab) listenFinally(user string) (*ear, error) {
	d := l.newDevice(user, true)
	e := &ear{device: d, manner: manner{answer: "200"}, displaced: make(chan struct{}, 1)}
	c, err := l.dial(1+d.r.IntN(len(l.site.Nodes)), user, e.heard)
	if err != nil {
		return nil, err
	}
	e.conn = c
	s := e.begin()
	a, err := c.Ask(e.request(s), nil)
	if err != nil {
		c.Close()
		return nil, err
	}
	l.history.locked(func() { s.Bound, s.Index = a.Back, number(a.Final(), "index") })
	return e, nil
}

// agree waits until all say of everybody what is so.
func (l *lab) agree(listening map[string]*ear) error {
	limit := time.After(settled + 10*time.Second)
	for {
		why, err := l.disagreement(listening)
		if err == nil && why == "" {
			return nil
		}
		select {
		case <-limit:
			return fmt.Errorf("in the end not all agree: %s %w", why, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// disagreement asks each node and each watcher.
func (l *lab) disagreement(listening map[string]*ear) (string, error) {
	now := map[string]notice{}
	for i := range l.site.Nodes {
		c, err := l.dial(i+1, fmt.Sprintf("asker%d", i+1), nil)
		if err != nil {
			return "", err
		}
		defer c.Close()
		for _, u := range l.users {
			a, err := c.Ask("QUERY fresh=yes ima="+l.address(u), nil)
			if err != nil {
				return "", err
			}
			n := noticeOf("", &a.Lines[0], 0)
			want := ""
			if e := listening[u]; e != nil {
				want = e.session.Token
			}
			if n.Note != want {
				return fmt.Sprintf("%s says %+v, and the user's session is %q", l.site.Nodes[i].ID, n, want), nil
			}
			now[n.IMA] = n
		}
	}
	return l.viewsDiffer(now), nil
}

// viewsDiffer says whose view, of those that are open, is not the present.
func (l *lab) viewsDiffer(now map[string]notice) (why string) {
	l.history.locked(func() {
		for _, v := range l.history.Views {
			if v.Ended {
				continue
			}
			last := map[string]notice{}
			for _, n := range v.Notices {
				last[n.IMA] = n
			}
			for ima, n := range now {
				if was := last[ima]; was.State != n.State || was.Note != n.Note {
					why = fmt.Sprintf("a watcher at node %d was told %+v last, and it is %+v", v.Node, was, n)
				}
			}
		}
		for i, told := range l.history.Told {
			last := map[string]string{}
			for _, t := range told {
				last[t.IMA] = t.Note
			}
			for ima, n := range now {
				if last[ima] != n.Note {
					why = fmt.Sprintf("consumer %d was told %q last, and it is %+v", i, last[ima], n)
				}
			}
		}
	})
	return why
}

// reachAll sends to everybody from each node: whoever listens gets it.
func (l *lab) reachAll(listening map[string]*ear) error {
	for i, n := range l.site.Nodes {
		s := l.newSender(sendersOfNode*i, i+1, 0)
		c, err := l.dial(i+1, s.name, nil)
		if err != nil {
			return err
		}
		r := reacher{s, c, 0}
		for _, u := range l.users {
			want := 480
			if listening[u] != nil {
				want = 200
			}
			if m := r.reach(u); m.Status != want {
				c.Close()
				return fmt.Errorf("in the end a message from %s to %s ends with %d, not %d: %s", n.ID, u, m.Status, want, m.Text)
			}
		}
		c.Close()
	}
	return nil
}

// reacher sends one message after the other.
type reacher struct {
	*sender
	conn   *conn
	number int
}

// reach sends to a user until that is not refused as the node is not in touch
// with the majority, which may be so while it elects.
func (r *reacher) reach(user string) *sent {
	for limit := r.clock.Now() + settled; ; {
		r.number++
		m := &sent{ID: fmt.Sprintf("%d.%d", r.conn.Number, r.number), To: user, Conn: r.conn.Number, Node: r.node, Number: r.number, Timeout: 4 * time.Second}
		r.window <- struct{}{}
		answered := make(chan struct{})
		r.sendThen(r.conn, m, func() { close(answered) })
		<-answered
		if m.Status != 503 || r.clock.Now() > limit {
			return m
		}
		r.pauseFor(100 * time.Millisecond)
	}
}
