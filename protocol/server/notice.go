package server

import (
	"slices"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// renderedNotice is a change of presence with its encoded line. All recipients
// share it. A newer notice may replace it while it is queued.
type renderedNotice struct {
	*protocol.Notice
	line []byte
}

var _ netio.Update = (*renderedNotice)(nil)

func (n *renderedNotice) Size() int                { return netio.FrameCost + cap(n.line) }
func (n *renderedNotice) Begin(time.Time) bool     { return true }
func (n *renderedNotice) AppendTo(b []byte) []byte { return append(b, n.line...) }
func (n *renderedNotice) Requeue()                 {}
func (n *renderedNotice) IsDropped() bool          { return false }
func (n *renderedNotice) Line() []byte             { return n.line }
func (n *renderedNotice) Subject() any             { return n.Address }

// Replaces reports whether old is for the same watchers.
func (n *renderedNotice) Replaces(old netio.Update) bool {
	return slices.Equal(n.By, old.(*renderedNotice).By)
}

// IsSameChange reports whether other tells other watchers of the same change.
func (n *renderedNotice) IsSameChange(other netio.Update) bool {
	return n.Presence == other.(*renderedNotice).Presence
}

// noticeCache caches the encoded form of the last notice, because many
// recipients in a row receive the same one.
type noticeCache struct {
	last atomic.Pointer[renderedNotice]
}

func (c *noticeCache) render(n *protocol.Notice) *renderedNotice {
	last := c.last.Load()
	if last == nil || last.Notice != n {
		last = &renderedNotice{n, appendNotice(make([]byte, 0, 160), n)}
		c.last.Store(last)
	}
	return last
}
