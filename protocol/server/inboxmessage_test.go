package server

import (
	"fmt"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// A message of which nothing was written goes back: it is not begun.
func TestUnwrittenMessageIsNotBegun(t *testing.T) {
	s := &Server{tenants: newTenantTable(1<<30, Limits{}), timers: netio.NewTimerWheel()}
	hash, in := newMessageHasher(), &inbox{usage: &usage{session: &session{server: s}}}
	in.hash = hash
	in.startListening()
	var got []protocol.Status
	var all []*inboxMessage
	for i := range 2 {
		m := &protocol.Message{
			ID: fmt.Sprint(i), Entity: []byte("hello"), Deadline: time.Now().Add(time.Minute),
		}
		d, _ := in.accept(m, func(out protocol.Outcome) { got = append(got, out.Status) })
		if !d.Begin(time.Now()) {
			t.Fatal("it may not be written")
		}
		all = append(all, d)
	}
	all[1].Requeue()
	reportAll(in.close())
	if len(got) != 2 || got[0] != protocol.StatusNotListening || got[1] != protocol.StatusIndeterminate {
		t.Errorf("the outcomes are %v: want the unwritten one certain, the begun one in doubt", got)
	}
}
