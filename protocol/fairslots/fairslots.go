// Package fairslots limits concurrent work that needs a processor for long,
// such as TLS handshakes. Those who wait take turns by network.
package fairslots

import (
	"context"
	"net/netip"
	"runtime"
	"slices"
	"sync"
)

// Slots limits concurrent work that needs a processor for long. The networks
// of those who wait take turns, so that one network that opens very many
// connections at once does not make others wait for all of them.
type Slots struct {
	mu      sync.Mutex
	free    int
	waiting map[netip.Prefix][]chan struct{} // by network; each channel is closed when its turn has come
	order   []netip.Prefix                   // of the waiting networks, the next first
}

// New returns as many slots as there are processors.
func New() *Slots {
	return &Slots{free: runtime.GOMAXPROCS(0), waiting: make(map[netip.Prefix][]chan struct{})}
}

// Acquire waits for a slot in the network's turn. It returns an error if ctx
// ends before; then nothing is to be released.
func (s *Slots) Acquire(ctx context.Context, network netip.Prefix) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	turn := s.enqueue(network)
	if turn == nil {
		return nil
	}
	select {
	case <-turn:
	case <-ctx.Done():
		if s.dequeue(network, turn) {
			return ctx.Err()
		}
	}
	if err := ctx.Err(); err != nil { // the turn has come as ctx ended
		s.Release()
		return err
	}
	return nil
}

// enqueue takes a free slot and returns nil, or returns the channel that is
// closed when the turn has come.
func (s *Slots) enqueue(network netip.Prefix) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free > 0 {
		s.free--
		return nil
	}
	turn := make(chan struct{})
	if len(s.waiting[network]) == 0 {
		s.order = append(s.order, network)
	}
	s.waiting[network] = append(s.waiting[network], turn)
	return turn
}

// dequeue gives up waiting. It returns false if the turn has come.
func (s *Slots) dequeue(network netip.Prefix, turn chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting[network], turn)
	if i < 0 {
		return false
	}
	s.waiting[network] = slices.Delete(s.waiting[network], i, i+1)
	if len(s.waiting[network]) == 0 {
		delete(s.waiting, network)
		at := slices.Index(s.order, network)
		s.order = slices.Delete(s.order, at, at+1)
	}
	return true
}

// Release gives a slot to the next waiting network.
func (s *Slots) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.order) == 0 {
		s.free++
		return
	}
	next := s.order[0]
	s.order = s.order[1:]
	close(s.waiting[next][0])
	if s.waiting[next] = s.waiting[next][1:]; len(s.waiting[next]) > 0 {
		s.order = append(s.order, next)
	} else {
		delete(s.waiting, next)
	}
}

// Waiting returns how many wait for a slot.
func (s *Slots) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, turns := range s.waiting {
		n += len(turns)
	}
	return n
}

// WaitingOf returns how many wait in the turns of a network.
func (s *Slots) WaitingOf(network netip.Prefix) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting[network])
}
