package link

import (
	"testing"
	"time"

	"simpd/protocol"
)

// TestOutcomesJustAfterTheDeadline: an envelope stays pending for as long as the
// sender's node waits for its outcome, and ends by itself after that.
func TestOutcomesJustAfterTheDeadline(t *testing.T) {
	var o envelopeQueue
	deadline := time.Now()
	var got []protocol.Outcome
	o.mu.Lock()
	for range 2 {
		o.markSentLocked(envelope{
			message: &protocol.Message{Deadline: deadline},
			done:    func(outcome protocol.Outcome) { got = append(got, outcome) },
		})
	}
	o.mu.Unlock()
	o.expirePending(deadline.Add(lateOutcomeGrace))
	o.acknowledge(1, protocol.Outcome{Status: protocol.StatusOK})
	if len(got) != 1 || got[0].Status != protocol.StatusOK {
		t.Fatalf("an outcome that came just after the deadline: %v", got)
	}
	o.expirePending(deadline.Add(lateOutcomeGrace + time.Millisecond))
	o.acknowledge(2, protocol.Outcome{Status: protocol.StatusOK})
	if len(got) != 2 || got[1].Status != protocol.StatusIndeterminate {
		t.Errorf("an outcome that came later: %v", got)
	}
}

// What a flood has made the queue keep in mind takes no room once it is over.
func TestPendingEnvelopesGiveTheirRoomBack(t *testing.T) {
	const flood, stay = 20_000, 5
	var o envelopeQueue
	ended := 0
	o.mu.Lock()
	for range flood {
		o.markSentLocked(envelope{message: &protocol.Message{}, done: func(protocol.Outcome) { ended++ }})
	}
	o.mu.Unlock()
	for i := range flood - stay {
		o.acknowledge(uint64(1+i), protocol.Outcome{Status: protocol.StatusOK})
	}
	if ended != flood-stay || len(o.pending) != stay {
		t.Fatalf("%d have ended, %d are pending", ended, len(o.pending))
	}
	if o.mostPending > flood/10 {
		t.Errorf("the map has the room of %d", o.mostPending)
	}
	o.expirePending(time.Now())
	if ended != flood || len(o.pending) != 0 {
		t.Errorf("%d have ended, %d are pending", ended, len(o.pending))
	}
}
