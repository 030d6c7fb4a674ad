package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	simpv1 "simpd/proto/simp/v1"
)

// Limits of what the page of presence is sent.
const (
	shownBefore = 100                    // changes of the history that a new page is shown
	gatherFor   = 150 * time.Millisecond // changes go out together
	maxGathered = 300                    // changes in one event; of more, the newest
)

// position is a place in the history, as an event's id has it.
type position struct {
	history string
	index   uint64
}

func (p position) String() string { return fmt.Sprintf("%s:%d", p.history, p.index) }

// parsePosition reads what String has written.
func parsePosition(s string) (p position, ok bool) {
	at := strings.LastIndexByte(s, ':')
	if at < 1 {
		return p, false
	}
	index, err := strconv.ParseUint(s[at+1:], 10, 64)
	return position{s[:at], index}, err == nil
}

// changesView is some changes of presence, the oldest first.
type changesView struct {
	Changes []change `json:"changes"`
	Skipped int      `json:"skipped,omitempty"` // older ones that came at the same time
}

// change is a change of one user's presence.
type change struct {
	Index    uint64          `json:"index"`
	TimeMs   int64           `json:"time"` // when this node told it
	Presence json.RawMessage `json:"presence"`
}

// getPresence streams each change of presence as it commits. A browser that
// comes back goes on after the last one that it has got; a new page is shown the
// newest changes of the history first.
func getPresence(q *request) {
	if !q.wantsEvents() {
		refuse(q.w, http.StatusNotAcceptable, "this is a stream of events")
		return
	}
	after, resumed := parsePosition(q.r.Header.Get("Last-Event-ID"))
	if !resumed {
		after, resumed = parsePosition(q.query("after"))
	}
	match := strings.ToLower(strings.TrimSpace(q.query("match")))
	q.stream(func(s *stream) error {
		g := gathering{stream: s, match: match}
		if !resumed {
			return g.followFrom(shownBefore)
		}
		reset, err := g.watch(after)
		if err != nil {
			return err
		}
		// What the history does not hold any more is not told: the page goes on
		// from now.
		if err := g.tellReset(reset); err != nil {
			return err
		}
		return g.followFrom(0)
	})
}

// followFrom tells changes from so many before now on, or from fewer if the
// history does not hold them. Where the history ends later, as where all accounts
// are restored, or does not hold what comes next any more, it tells why, and goes
// on from then.
func (g *gathering) followFrom(before uint64) error {
	for {
		at, err := g.currentPosition()
		if err != nil {
			return err
		}
		g.heard = false
		reset, err := g.watch(position{at.history, at.index - min(at.index, before)})
		if err != nil {
			return err
		}
		if before > 0 && !g.heard {
			now, err := g.currentPosition()
			if err != nil {
				return err
			}
			if now.history == at.history {
				before /= 2 // the history begins later
				continue
			}
		}
		before = 0
		if err := g.tellReset(reset); err != nil {
			return err
		}
	}
}

// tellReset says that what comes next does not follow what was told.
func (g *gathering) tellReset(reason string) error {
	return g.send("reset", "", map[string]string{"reason": reason})
}

// currentPosition returns where this node has got to.
func (s *stream) currentPosition() (position, error) {
	// The smallest question that is answered with the position.
	resp, err := simpv1.NewPresenceServiceClient(s.services()).List(s.ctx, &simpv1.ListRequest{PageSize: 1, State: simpv1.State_STATE_BUSY})
	if err != nil {
		return position{}, err
	}
	return position{resp.Position.GetHistory(), resp.Position.GetIndex()}, nil
}

// watch tells changes until the position is not part of the history any
// more, and returns why.
func (g *gathering) watch(after position) (reset string, err error) {
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	request := &simpv1.WatchRequest{After: &simpv1.Position{History: after.history, Index: after.index}}
	watch, err := simpv1.NewPresenceServiceClient(g.services()).Watch(ctx, request)
	if err != nil {
		return "", err
	}
	found := make(chan *simpv1.WatchResponse)
	ended := make(chan error, 1)
	g.at = after
	g.console.spawn(func() {
		for {
			r, err := watch.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case found <- r:
			case <-ctx.Done():
			}
		}
	})
	return g.run(found, ended)
}

// gathering collects changes that go out together.
type gathering struct {
	*stream
	match string
	at    position
	told  position // the newest change that was told
	heard bool     // something of the history
	view  changesView
}

func (g *gathering) run(found <-chan *simpv1.WatchResponse, ended <-chan error) (reset string, err error) {
	tick := time.NewTicker(gatherFor)
	defer tick.Stop()
	for {
		select {
		case r := <-found:
			if why := r.GetReset_(); why != nil {
				return why.Reason, g.flush()
			}
			if err := g.take(r); err != nil {
				return "", err
			}
		case err := <-ended:
			return "", err
		case <-tick.C:
			if err := g.check(); err != nil {
				return "", err
			}
			if err := g.flush(); err != nil {
				return "", err
			}
		case <-g.ctx.Done():
			return "", g.ctx.Err()
		}
	}
}

// take adds a change, if it is of somebody whom the page asks for.
func (g *gathering) take(r *simpv1.WatchResponse) error {
	g.heard = true
	if p := r.Position; p != nil {
		g.at = position{p.History, p.Index}
	}
	p := r.GetPresence()
	if p == nil || !strings.Contains(p.Ima, g.match) || g.at.history == g.told.history && g.at.index <= g.told.index {
		return nil
	}
	g.told = g.at
	raw, err := marshal(withoutClients(p))
	if err != nil {
		return err
	}
	if len(g.view.Changes) == maxGathered {
		g.view.Changes = g.view.Changes[1:]
		g.view.Skipped++
	}
	g.view.Changes = append(g.view.Changes, change{r.Position.GetIndex(), time.Now().UnixMilli(), raw})
	return nil
}

// withoutClients returns a presence without the addresses that people connect
// from, which whoever watches changes has no use for.
func withoutClients(p *simpv1.Presence) *simpv1.Presence {
	p = proto.CloneOf(p)
	for _, s := range p.Session {
		s.Client = ""
	}
	return p
}

// flush sends what was gathered.
func (g *gathering) flush() error {
	if len(g.view.Changes) == 0 {
		return g.beat()
	}
	v := g.view
	g.view = changesView{}
	return g.send("", g.at.String(), v)
}
