package main

import (
	"testing"
	"time"
)

const second = time.Second

// sound is a small history in which every promise is kept.
func sound() *history {
	return &history{
		Sent: []*sent{
			{ID: "1.1", To: "bob", Conn: 1, Node: 1, Number: 1, At: 2 * second, Back: 3 * second, Timeout: second, Status: 200, Times: 1},
			{ID: "1.2", To: "bob", Conn: 1, Node: 1, Number: 2, At: 2 * second, Back: 3 * second, Timeout: second, Status: 200, Times: 1},
			{ID: "1.3", To: "bob", Conn: 1, Node: 1, Number: 3, At: 7 * second, Back: 8 * second, Timeout: second, Status: 480, Times: 1},
		},
		Receipts: []receipt{{ID: "1.1", Session: 1, At: 2 * second, Said: 200}, {ID: "1.2", Session: 1, At: 2 * second, Said: 200}},
		Sessions: []*session{{
			Number: 1, User: "bob", Node: 2, Conn: 2, Token: "t1", Exclusive: true,
			Call: second / 2, Bound: second, Index: 10, Leave: 5 * second, Left: 6 * second, LeftIndex: 11,
		}},
		Views: []*view{{Node: 3, Conn: 3, From: 9, Notices: []notice{
			{Kind: "100", IMA: "bob@example.com", State: "deaf"},
			{Kind: "PRESENCE", IMA: "bob@example.com", State: "available", Note: "t1", Index: 10},
			{Kind: "PRESENCE", IMA: "bob@example.com", State: "deaf", Index: 11},
		}}},
		Asked: []asking{
			{User: "bob", State: "available", Note: "t1", Node: 3, Index: 10, Call: 2 * second, Back: 3 * second},
			{User: "bob", State: "deaf", Node: 1, Index: 11, Call: 7 * second, Back: 8 * second},
		},
		Told: [][]told{{
			{Kind: "synced", Index: 9},
			{Kind: "change", Index: 10, IMA: "bob@example.com", State: "available", Note: "t1", Sessions: "s"},
			{Kind: "change", Index: 11, IMA: "bob@example.com", State: "deaf"},
		}},
	}
}

func judge(h *history) *report {
	r := newReport(0, "")
	newChecker(h, r, "example.com").all()
	return r
}

func TestSoundHistory(t *testing.T) {
	if r := judge(sound()); len(r.wrong) > 0 {
		t.Errorf("a sound history is found wrong: %v", r.wrong)
	}
}

// TestChecks: each check finds what it is for.
func TestChecks(t *testing.T) {
	for promise, breach := range map[string]func(h *history){
		"falsely delivered":             func(h *history) { h.Receipts = h.Receipts[:1] },
		"falsely failed":                func(h *history) { h.Sent[0].Status = 503 },
		"several outcomes":              func(h *history) { h.Sent[0].Times = 2 },
		"no outcome":                    func(h *history) { h.Sent[0].Status = lost },
		"a connection cut":              func(h *history) { h.Endings = []ending{{Conn: 1, Node: 1, At: 3 * second, Why: "EOF"}} },
		"overdue":                       func(h *history) { h.Sent[0].Back = 5 * second },
		"shown twice":                   func(h *history) { h.Receipts = append(h.Receipts, h.Receipts[0]) },
		"received by another":           func(h *history) { h.Sent[0].To = "carol" },
		"received after the end":        func(h *history) { h.Receipts[0].Deaf = true },
		"out of order":                  func(h *history) { h.Receipts[0], h.Receipts[1] = h.Receipts[1], h.Receipts[0] },
		"look-ups not linearizable":     func(h *history) { h.Asked[1].State, h.Asked[1].Note, h.Asked[1].Index = "available", "t1", 10 },
		"changes missed":                func(h *history) { missChange(h) },
		"a watcher saw a change twice":  func(h *history) { v := h.Views[0]; v.Notices = append(v.Notices, v.Notices[2]) },
		"a watcher saw what was not so": func(h *history) { h.Views[0].Notices[1].Note = "t2" },
		"a consumer was told twice":     func(h *history) { h.Told[0] = append(h.Told[0], h.Told[0][2]) },
		"a consumer missed a change":    func(h *history) { h.Told = append(h.Told, []told{h.Told[0][0], h.Told[0][2]}) },
		"two histories": func(h *history) {
			h.Told = append(h.Told, []told{{Kind: "change", Index: 10, IMA: "carol@example.com"}})
		},
		"a strange receipt": func(h *history) { h.Receipts[0].ID = "9.9" },
	} {
		h := sound()
		breach(h)
		if r := judge(h); len(r.wrong[promise]) == 0 {
			t.Errorf("%s is not found; found is %v", promise, r.wrong)
		}
	}
}

// missChange has the watcher miss one change of three.
func missChange(h *history) {
	h.Told[0] = append(h.Told[0], told{Kind: "change", Index: 12, IMA: "bob@example.com", State: "busy", Note: "t2"})
	v := h.Views[0]
	v.Notices = append(v.Notices[:2:2], notice{Kind: "PRESENCE", IMA: "bob@example.com", State: "busy", Note: "t2", Index: 12})
}

// TestRefusedOfTheListening: a 480 for who certainly listened is found.
func TestRefusedOfTheListening(t *testing.T) {
	h := sound()
	h.Sent[2].At, h.Sent[2].Back = 2*second, 3*second
	if r := judge(h); len(r.wrong["look-ups not linearizable"]) == 0 {
		t.Error("it is not found")
	}
}

// TestConnectionsEnd: what is lost with a connection is no violation where a
// fault struck its node, or where it was sent away from a node that had no
// majority; and only there.
func TestConnectionsEnd(t *testing.T) {
	for _, x := range []struct {
		end    ending
		faults []fault
		cut    bool
	}{
		{ending{Node: 1}, nil, true},
		{ending{Node: 1, Own: true}, nil, false},
		{ending{Node: 1}, []fault{{Nodes: []int{1}, Begun: 10 * second, End: 19 * second}}, false},
		{ending{Node: 1}, []fault{{Nodes: []int{1}, Begun: 10 * second, End: 17 * second}}, true},
		{ending{Node: 1}, []fault{{Nodes: []int{2}, Begun: 10 * second, End: 19 * second}}, true},
		{ending{Node: 1, Bye: "503 cut off"}, []fault{{Nodes: []int{2, 3}, Begun: 9 * second, End: 20 * second}}, false},
		{ending{Node: 1}, []fault{{Nodes: []int{2, 3}, Begun: 9 * second, End: 20 * second}}, true},
		{ending{Node: 1, Bye: "503 cut off"}, []fault{{Nodes: []int{2}, Begun: 9 * second, End: 20 * second}}, true},
		{ending{Node: 1}, []fault{{Kind: clientsApart, Nodes: []int{1}, Begun: 1 * second, End: 5 * second}}, false},
	} {
		h := sound()
		h.Sent = append(h.Sent, &sent{ID: "7.1", Node: 3, Conn: 7, Status: 200})
		x.end.Conn, x.end.At = 1, 20*second
		h.Endings, h.Faults = []ending{x.end}, x.faults
		if got := len(judge(h).wrong["a connection cut"]) > 0; got != x.cut {
			t.Errorf("%+v after %+v: a violation %v, want %v", x.end, x.faults, got, x.cut)
		}
	}
}

// TestLateAnswers: a request that a running node does not answer within 10 s
// is found.
func TestLateAnswers(t *testing.T) {
	h := sound()
	h.Slow = []slow{{Request: "LISTEN", Node: 1, Call: 2 * second, Back: 13 * second}}
	if r := judge(h); len(r.wrong["overdue"]) == 0 {
		t.Error("it is not found")
	}
	h.Faults = []fault{{Nodes: []int{1}, Begun: second, End: 12 * second}}
	if r := judge(h); len(r.wrong["overdue"]) > 0 {
		t.Error("it is found, though the node stood still")
	}
}

// TestHolders: the model alone finds a stale look-up, whatever indexes say.
func TestHolders(t *testing.T) {
	h := sound()
	h.Asked[1].State, h.Asked[1].Note, h.Asked[1].Index = "available", "t1", 10
	r := newReport(0, "")
	newChecker(h, r, "example.com").holders()
	if len(r.wrong["look-ups not linearizable"]) == 0 {
		t.Error("it is not found")
	}
}

// TestRefusals: the model alone finds that a message was refused although
// somebody listened, and lets it be where the listener's node was struck.
func TestRefusals(t *testing.T) {
	h := sound()
	h.Sent[2].At, h.Sent[2].Back = 2*second, 3*second
	for _, struck := range []bool{false, true} {
		if struck {
			h.Faults = []fault{{Nodes: []int{2}, Begun: 2 * second, End: 4 * second}}
		}
		r := newReport(0, "")
		newChecker(h, r, "example.com").holders()
		if found := len(r.wrong["look-ups not linearizable"]) > 0; found == struck {
			t.Errorf("found %v, and its node was struck: %v", found, struck)
		}
	}
}

// TestVoid: a run in which little happened is void.
func TestVoid(t *testing.T) {
	r := judge(sound())
	r.count(sound())
	r.vacuity(plan{length: 10 * second, faults: loopbackFaults()})
	if len(r.wrong["the run is void"]) == 0 {
		t.Error("it counts")
	}
}
