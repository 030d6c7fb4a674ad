package main

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	simpv1 "simpd/proto/simp/v1"
)

// history is every change of presence, as a program hears of them that goes
// on at another node whenever its own is lost.
type history struct {
	nodes []simpv1.PresenceServiceClient

	mu      sync.Mutex
	changes map[string][]change // by address, those that watchers see
	last    *simpv1.Position
	reset   string // not empty: it had to begin anew
	lost    int    // nodes that were lost under it
}

type change struct {
	seen
	at uint64 // its index in the history
}

// recordHistory begins to listen to the site, until the storm is finished.
func (s *storm) recordHistory() *history {
	h := &history{changes: map[string][]change{}}
	for _, n := range s.nodes {
		conn, err := grpc.NewClient(n.address("grpc-listen"), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _ = conn.Close() })
		h.nodes = append(h.nodes, simpv1.NewPresenceServiceClient(conn))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.actors.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			h.follow(ctx, h.nodes[i%len(h.nodes)])
		}
	})
	s.actors.Go(func() {
		<-s.finished
		cancel()
	})
	eventually(s.t, "the history is followed", func() bool { return h.position().GetIndex() > 0 })
	return h
}

func (h *history) position() *simpv1.Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last
}

// follow listens to one node until it is lost.
func (h *history) follow(ctx context.Context, node simpv1.PresenceServiceClient) {
	stream, err := node.Watch(ctx, &simpv1.WatchRequest{After: h.position()})
	for err == nil {
		var r *simpv1.WatchResponse
		if r, err = stream.Recv(); err == nil {
			h.take(r)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost++
}

func (h *history) take(r *simpv1.WatchResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if reset := r.GetReset_(); reset != nil {
		h.reset = reset.Reason
	}
	if r.Position == nil {
		return
	}
	h.last = r.Position
	if p := r.GetPresence(); p != nil {
		now := change{seen{p.Index, stateName(p.State), p.Note}, r.Position.Index}
		all := h.changes[p.Ima]
		if len(all) == 0 || !all[len(all)-1].same(now.seen) {
			h.changes[p.Ima] = append(all, now)
		}
	}
}

func stateName(s simpv1.State) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}

// after returns the changes of a user behind an index.
func (h *history) after(ima string, index uint64) []change {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.changes[ima]
	for len(all) > 0 && all[0].at <= index {
		all = all[1:]
	}
	return all
}

// now is how a user is at the end of the history.
func (h *history) now(ima string) seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	if all := h.changes[ima]; len(all) > 0 {
		return all[len(all)-1].seen
	}
	return seen{state: "deaf"}
}
