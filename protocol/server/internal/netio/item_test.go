package netio

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// blocked is a transport that takes so many octets, and then nothing more.
type blocked struct {
	counting
	takes int
}

func (w *blocked) Write(b []byte) (int, bool, error) {
	n := min(w.takes, len(b))
	w.takes -= n
	return n, n == len(b), nil
}

// note is an item that notes what becomes of it.
type note struct {
	text             string
	begun, requeued  bool
	refused, dropped bool
}

func (n *note) Size() int                { return 0 }
func (n *note) Begin(time.Time) bool     { n.begun = true; return !n.refused }
func (n *note) AppendTo(b []byte) []byte { return append(b, n.text...) }
func (n *note) Requeue()                 { n.requeued = true }
func (n *note) IsDropped() bool          { return n.dropped }

// An item of which nothing was written is told so, one that was dropped
// leaves the queue, and one that must not begin is left out.
func TestItemsAreToldWhatBecomesOfThem(t *testing.T) {
	w := &blocked{takes: 7}
	o, _ := newTestOutbox(w)
	items := []*note{{text: "left out\r\n", refused: true}, {text: "1 one\r\n"}, {text: "2 two\r\n"}, {text: "3 three\r\n"}}
	for _, i := range items {
		o.enqueue(frame{item: i})
	}
	o.beginWriting()
	if o.writeQueued(1) {
		t.Fatal("it is called written")
	}
	var requeued []bool
	for _, i := range items {
		requeued = append(requeued, i.requeued)
	}
	if !slices.Equal(requeued, []bool{false, false, true, true}) {
		t.Errorf("told that nothing was written: %v", requeued)
	}
	items[2].dropped = true
	o.RemoveDropped()
	w.takes = 100
	if !o.writeQueued(1) || w.octets != 0 || w.takes != 100-len("3 three\r\n") {
		t.Errorf("%d octets were not taken", w.takes)
	}
}

// count is an update of one subject.
type count struct {
	note
	subject, part string
	change        int
}

func (c *count) Size() int                { return FrameCost + len(c.text) }
func (c *count) Line() []byte             { return []byte(c.text) }
func (c *count) Subject() any             { return c.subject }
func (c *count) Replaces(old Update) bool { return old.(*count).part == c.part }
func (c *count) IsSameChange(other Update) bool {
	return other.(*count).change == c.change
}

// Once much is queued, an update takes the place of an older one for the same
// readers, but none overtakes a state, or another's change.
func TestUpdatesReplaceOlderOnes(t *testing.T) {
	w := newNarrow(1)
	o, owner := newTestOutbox(w)
	o.writing = true // by somebody else
	send := func(subject, part string, change int) {
		o.SendUpdate(&count{note: note{text: subject + part + string(rune('0'+change)) + "\r\n"}, subject: subject, part: part, change: change})
	}
	send("a", "x", 1) // little is queued: it stays
	o.enqueue(frame{octets: []byte(strings.Repeat("z", MergeFrom) + "\r\n")})
	send("a", "x", 2)
	send("b", "x", 2)
	send("a", "x", 3) // in the place of 2
	send("a", "y", 3) // a part of the same change
	send("a", "y", 4) // in its place
	o.SendState([]byte("state\r\n"))
	send("a", "x", 5)
	o.writing = false
	close(w.open)
	o.AwaitDrained()
	got := strings.ReplaceAll(strings.ReplaceAll(w.took.String(), strings.Repeat("z", MergeFrom), "z"), "\r\n", " ")
	if got != "ax1 z ax3 bx2 ay4 state ax5 " {
		t.Errorf("got %s", got)
	}
	if owner.held.Load() != 0 {
		t.Errorf("%d octets still count", owner.held.Load())
	}
}
