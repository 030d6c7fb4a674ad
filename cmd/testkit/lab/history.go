package main

import (
	"simpd/cmd/testkit/wire"
	"sync"
	"time"
)

// lost is the status of a message whose sender's connection ended before the
// answer: in doubt, like a 201.
const lost = 0

// sent is one SEND and what became of it.
type sent struct {
	ID       string
	To       string // the user
	Conn     int    // the sender's connection
	Node     int    // and its node
	Number   int    // counts the messages of that connection
	Again    bool   // a repeat of an earlier one
	At, Back time.Duration
	Timeout  time.Duration
	Status   int // lost: none came
	Text     string
	Times    int // how many final responses came
}

// receipt is one MESSAGE that a client got.
type receipt struct {
	ID      string
	Session int // the laboratory's number of the listening session
	At      time.Duration
	Said    int  // the answer's status; 0: none
	Deaf    bool // it came after the session's end was told
}

// session is one LISTEN and its end, as the client saw them. Times are 0 where
// that did not come about.
type session struct {
	Number    int // the laboratory's own
	User      string
	Node      int
	Conn      int
	Token     string // the note that it listened with
	Exclusive bool
	Call      time.Duration // of LISTEN
	Bound     time.Duration // of its 200
	Failed    time.Duration // of its refusal, or of the end before an answer
	Index     uint64
	Leave     time.Duration // UNLISTEN was said, or the connection was closed by the client
	Left      time.Duration // of UNLISTEN's 200
	LeftIndex uint64
	Displaced time.Duration // UNLISTENED came
	Gone      time.Duration // the connection ended, whoever ended it
	States    []stated
}

// stated is a STATE: the note it set.
type stated struct {
	Token      string
	Call, Back time.Duration // Back is 0 if it failed
	Index      uint64
}

// notice is one thing that a watcher was told.
type notice struct {
	Kind  string // "100", "PRESENCE", "STALE", "FRESH"
	IMA   string
	State string
	Note  string
	Index uint64
	At    time.Duration
}

// view records what one watching connection was told, in order.
type view struct {
	Node, Conn int
	From       uint64 // the index of WATCH's answer
	Notices    []notice
	Ended      bool // the connection has ended
}

// asking is one fresh QUERY.
type asking struct {
	User, State, Note string
	Node              int
	Index             uint64 // of the moment that it shows
	Call, Back        time.Duration
}

// told is one thing that a consumer of the gRPC Watch was told.
type told struct {
	Kind     string // "present", "synced", "change", "reset"
	Index    uint64 // of the position; 0 with present and reset
	History  string
	IMA      string
	State    string
	Note     string
	Sessions string
	Node     int
	At       time.Duration
}

type (
	ending = wire.Ending
	slow   = wire.Slow
)

// fault is one that was injected.
type fault struct {
	Kind       string
	Nodes      []int
	Runs       bool          // the nodes run and reach their clients all the time
	Begun, End time.Duration // End: everything works again
	Note       string
}

// history is all that a run has recorded.
type history struct {
	mu       sync.Mutex
	Sent     []*sent
	Receipts []receipt
	Sessions []*session
	Views    []*view
	Asked    []asking
	Refused  map[string]int // of other requests: by verb and status
	Told     [][]told       // by consumer
	Endings  []ending
	Slow     []slow
	Faults   []fault
	Stalls   []fault // times in which the laboratory itself stood still, and so perhaps all
}

func (h *history) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *history) part(e ending) { h.locked(func() { h.Endings = append(h.Endings, e) }) }

func (h *history) tardy(s slow) { h.locked(func() { h.Slow = append(h.Slow, s) }) }

func (h *history) refuse(what string) {
	h.locked(func() {
		if h.Refused == nil {
			h.Refused = map[string]int{}
		}
		h.Refused[what]++
	})
}
