package session

import (
	"context"
	"sync"

	"simpd/cmd/simp/internal/chat"
	"simpd/protocol"
)

// maxKept is how many senders' newest messages are kept.
const maxKept = 64

// received keeps the newest message of each sender, which can be reported.
type received struct {
	mu     sync.Mutex
	newest map[protocol.Address]*protocol.Message
	order  []protocol.Address // senders, the one kept longest first
}

func (k *received) keep(m *protocol.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.newest == nil {
		k.newest = map[protocol.Address]*protocol.Message{}
	}
	from := m.From.CaseFold()
	if k.newest[from] == nil {
		k.order = append(k.order, from)
	}
	if k.newest[from] = m; len(k.order) > maxKept {
		delete(k.newest, k.order[0])
		k.order = k.order[1:]
	}
}

func (k *received) newestOf(from protocol.Address) *protocol.Message {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.newest[from.CaseFold()]
}

// report reports somebody, with their newest message.
func (s *Session) report(ctx context.Context, r chat.Request) error {
	q := protocol.Report{About: r.Address, Reason: r.Reason}
	if m := s.received.newestOf(r.Address); m != nil {
		q.ID, q.Entity = m.ID, m.Entity
	}
	return s.client.Report(ctx, q)
}
