package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

// settle waits until every node, every watcher that is there, and the history
// say the same of everybody.
func (s *storm) settle(h *history) {
	s.t.Helper()
	why := ""
	defer func() {
		if s.t.Failed() {
			s.t.Log(why)
		}
	}()
	eventually(s.t, "all agree", func() bool {
		why = s.disagreement(h)
		return why == ""
	})
}

func (s *storm) disagreement(h *history) string {
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Second)
	defer cancel()
	request := &simpv1.GetRequest{Fresh: true}
	for i := range stormUsers {
		request.Ima = append(request.Ima, stormUser(i))
	}
	for i, node := range h.nodes {
		r, err := node.Get(ctx, request)
		if err != nil {
			return fmt.Sprintf("%s: %v", s.nodes[i].id, err)
		}
		for _, p := range r.Presence {
			now := seen{p.Index, stateName(p.State), p.Note}
			if told := h.now(p.Ima); !told.same(now) {
				return fmt.Sprintf("%s says of %s %v, and the history %v", s.nodes[i].id, p.Ima, now, told)
			}
			if why := s.viewsOf(p.Ima, now); why != "" {
				return why
			}
		}
	}
	return ""
}

func (s *storm) viewsOf(ima string, now seen) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.views {
		v.mu.Lock()
		ended := v.ended
		v.mu.Unlock()
		if shown := v.now(ima); !ended && !shown.same(now) {
			return fmt.Sprintf("a watcher sees %v of %s, who is %v", shown, ima, now)
		}
	}
	return ""
}

// checkOutcomes holds what senders were told against what recipients did.
func (s *storm) checkOutcomes() {
	s.t.Helper()
	counts := map[protocol.Status]int{}
	for id, one := range s.sent {
		counts[one.status]++
		s.checkOutcome(id, one.status)
	}
	s.checkOrder()
	s.t.Logf("%d nodes killed; outcomes %v", s.kills, counts)
}

// enough reports whether so much has happened that the verdict means something.
func (s *storm) enough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[protocol.Status]int{}
	for _, one := range s.sent {
		counts[one.status]++
	}
	for status, least := range map[protocol.Status]int{200: 500, 201: 20, 480: 1, 486: 20} {
		if counts[status] < least {
			return false
		}
	}
	return true
}

func (s *storm) checkOutcome(id string, status protocol.Status) {
	s.t.Helper()
	accepted, refused := false, false
	for _, r := range s.received[id] {
		accepted = accepted || r.answer == "200"
		refused = refused || r.answer != "" && r.answer != "200"
	}
	switch status {
	case protocol.StatusOK:
		if !accepted {
			s.t.Errorf("%s: told 200, and nobody accepted it: %v", id, s.received[id])
		}
	case protocol.StatusIndeterminate:
	case protocol.StatusRefused:
		if accepted || !refused {
			s.t.Errorf("%s: told 486: %v", id, s.received[id])
		}
	case protocol.StatusNotListening, protocol.StatusNotReading, protocol.StatusUnavailable:
		if len(s.received[id]) > 0 {
			s.t.Errorf("%s: told %d, and it came to somebody: %v", id, status, s.received[id])
		}
	default:
		s.t.Errorf("%s: told %d", id, status)
	}
}

// checkOrder: no session is shown a message twice, nor two of one stream in
// the wrong order.
func (s *storm) checkOrder() {
	s.t.Helper()
	type path struct {
		stream  string
		session uint64
	}
	came := map[path]map[int]int{} // the session's count, by the stream's number
	for id, all := range s.received {
		one := s.sent[id]
		for _, r := range all {
			p := path{one.stream, r.session}
			if came[p] == nil {
				came[p] = map[int]int{}
			}
			if _, twice := came[p][one.number]; twice {
				s.t.Errorf("%s came twice to session %d", id, r.session)
			}
			came[p][one.number] = r.at
		}
	}
	for p, numbers := range came {
		for a := range maps.Keys(numbers) {
			for b := range maps.Keys(numbers) {
				if a < b && numbers[a] > numbers[b] {
					s.t.Errorf("%s: %d came after %d to session %d", p.stream, a, b, p.session)
				}
			}
		}
	}
}

// checkViews holds what watchers were shown against the history.
func (s *storm) checkViews(h *history) {
	s.t.Helper()
	if h.reset != "" {
		s.t.Errorf("the history had to begin anew: %s", h.reset)
	}
	shown, merged := 0, 0
	for _, v := range s.views {
		if v.problem != "" {
			s.t.Error(v.problem)
		}
		for i := range stormUsers {
			n, m := s.checkView(h, v, stormUser(i))
			shown, merged = shown+n, merged+m
		}
	}
	s.t.Logf("%d views with %d changes shown, %d merged into later ones; the history changed nodes %d times", len(s.views), shown, merged, h.lost)
	if shown < 200 {
		s.t.Errorf("only %d changes were shown: that proves nothing", shown)
	}
	if merged > shown/20 { // to merge is for slow readers, which these are not
		s.t.Errorf("%d changes were left out", merged)
	}
}

// checkView checks that what was shown are changes of the history behind
// WATCH's index, in their order. It returns how many were shown, and how many
// left out because a later one was shown in their place.
func (s *storm) checkView(h *history, v *view, ima string) (shown, merged int) {
	s.t.Helper()
	all := v.shown[ima]
	since := v.since
	if all[0].state == "unknown" && len(all) > 1 { // the state at WATCH's index or a later one is shown next
		all, since = all[1:], all[1].index
		if all[0].index == 0 {
			return 0, 0 // deaf: at which index is not said
		}
	}
	truth := h.after(ima, since)
	for _, now := range all[1:] {
		left := 0
		for left < len(truth) && !truth[left].same(now) {
			left++
		}
		if left == len(truth) {
			s.t.Errorf("%s: after WATCH at %d a watcher was shown %v, which is no change (any more) of the history", ima, v.since, now)
			return shown, merged
		}
		shown, merged, truth = shown+1, merged+left, truth[left+1:]
	}
	return shown, merged
}
