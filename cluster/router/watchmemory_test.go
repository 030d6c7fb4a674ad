package router

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"simpd/protocol"
)

// heapInUse returns how many octets of the heap are in use.
func heapInUse() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// userNames returns names of users that there need not be.
func userNames(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return names
}

// What is counted for watches is what they take.
func TestWatchOctets(t *testing.T) {
	s := newSite(t, "n1")
	h := &s.nodes["n1"].hub
	names := make([][]string, 32)
	clients := make([]*client, len(names))
	for i := range names {
		clients[i], names[i] = s.login("alice", "n1"), userNames(fmt.Sprintf("of-%d-", i), protocol.MaxWatched)
	}
	before := heapInUse()
	for i, c := range clients {
		c.watch(t, names[i]...)
	}
	taken, counted := heapInUse()-before, int(h.owners.pool.Held())
	t.Logf("%d octets a watch, %d counted", taken/h.watchCount, counted/h.watchCount)
	if taken > counted || taken < counted/2 {
		t.Errorf("%d watches take %d octets, %d are counted", h.watchCount, taken, counted)
	}
	for _, c := range clients {
		c.Close()
	}
	if held := h.owners.pool.Held(); held != 0 {
		t.Errorf("%d octets are counted for no watches", held)
	}
	runtime.KeepAlive(names)
}

// Sixteen clients of one user watch a thousand contacts each, whoever else
// watches; one user who wants more is refused, and others are not.
func TestWatchesHaveShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "n1")
		n := s.nodes["n1"]
		n.hub.owners = newWatchOwners(32 << 20)
		contacts := userNames("contact", protocol.MaxWatched)
		var clients []*client
		for range 16 {
			c := s.login("alice", "n1")
			c.watch(t, contacts...)
			clients = append(clients, c)
		}
		var refusal *protocol.Error
		for range 100 {
			c := s.login("alice", "n1")
			clients = append(clients, c)
			err := c.Watch(t.Context(), protocol.WatchRequest{Addresses: addresses(contacts)}, func([]protocol.Notice, uint64) {})
			if errors.As(err, &refusal) {
				break
			}
		}
		if refusal == nil || refusal.Status != protocol.StatusSlowDown || refusal.Retry == 0 {
			t.Fatalf("one user's watches are refused by %v", refusal)
		}
		last := clients[len(clients)-1]
		if n.hub.watchCount != protocol.MaxWatched*(len(clients)-1) || len(last.watched) != 0 {
			t.Errorf("after a refusal there are %d watches", n.hub.watchCount)
		}
		s.login("bob", "n1").watch(t, contacts...)
		clients[0].Unwatch(protocol.WatchRequest{})
		clients[1].Close()
		last.watch(t, contacts...)
		clients[2].Unwatch(protocol.WatchRequest{Addresses: addresses(contacts[1:])})
		if got := n.hub.owners.Acquire("alice@example.com").Held(); got >= int64(protocol.MaxWatched*len(clients)*watchOctets) {
			t.Errorf("%d octets are held for %d watches", got, n.hub.watchCount)
		}
		s.must(putAccount("contact0", 1))
		s.listen("contact0", "n1")
		if !slices.Equal(last.heard(), []string{"contact0 available "}) {
			t.Error("a watch that had room is not told")
		}
	})
}

// WATCHERS names each user once, and stops where an answer can name no more.
func TestWatchersAreBounded(t *testing.T) {
	h := &newSite(t, "n1").nodes["n1"].hub
	bob := addr("bob@example.com")
	for i := range 2 * protocol.MaxWatchersOctets / protocol.MaxAddress {
		by := protocol.CanonicalAddress(fmt.Sprintf("%0242d@example.com", i/2))
		h.watchers[bob] = append(h.watchers[bob], &watch{pair: pair{by, bob}})
	}
	if by := h.watchersOf(bob); len(by) != (len(h.watchers[bob])+1)/2 {
		t.Errorf("of %d watches %d watchers are named", len(h.watchers[bob]), len(by))
	}
	h.watchers[bob] = slices.Concat(h.watchers[bob], h.watchers[bob])
	for i, w := range h.watchers[bob] {
		h.watchers[bob][i] = &watch{pair: pair{protocol.CanonicalAddress(fmt.Sprint(i, w.by)), bob}}
	}
	octets := 0
	for _, by := range h.watchersOf(bob) {
		octets += len(by.String())
	}
	if octets <= protocol.MaxWatchersOctets || octets > protocol.MaxWatchersOctets+2*protocol.MaxAddress {
		t.Errorf("watchers of %d octets are named", octets)
	}
}
