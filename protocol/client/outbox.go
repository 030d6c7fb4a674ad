package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// outbox writes to a connection in a goroutine that lives only while there is
// something to write, so that nobody who reads ever waits for a slow writer.
type outbox struct {
	conn        net.Conn
	failed      func(error) // called at most once, as writing fails
	mostReplies int         // octets of replies that may wait; see reply

	mu      sync.Mutex
	waiting []byte
	spare   []byte // an empty buffer to fill next
	added   int64  // octets that were put in
	taken   int64  // of these, those that were given to the connection, so may be out
	replies int    // octets of what waits, that are replies
	busy    bool
	err     error
	changed chan struct{} // if somebody waits for a change: closed at the next
}

const (
	outboxFull   = 4 << 20 // octets; requests wait for room
	outboxSpare  = 64 << 10
	writeTimeout = 30 * time.Second
)

// errNoRoom says that the server takes nothing for so long that the answers
// alone fill the outbox.
var errNoRoom = errors.New("the server reads nothing")

// put adds octets. It returns the position behind them, for mayBeOut.
func (o *outbox) put(b []byte) (end int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.putLocked(b)
}

func (o *outbox) putLocked(b []byte) (end int64, err error) {
	if o.err != nil {
		return 0, o.err
	}
	o.waiting = append(o.waiting, b...)
	o.added += int64(len(b))
	if !o.busy {
		o.busy = true
		go o.write()
	}
	return o.added, nil
}

// reply adds a reply, which the other side decides the number of: where it
// reads so little that mostReplies wait, nothing can be put any more.
func (o *outbox) reply(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.replies += len(b); o.replies > o.mostReplies && o.err == nil {
		o.err, o.waiting = errNoRoom, nil
	}
	_, err := o.putLocked(b)
	return err
}

// mayBeOut reports whether the octets before end may have been sent to the last.
func (o *outbox) mayBeOut(end int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.taken >= end
}

// unsent tells how many octets wait.
func (o *outbox) unsent() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting)
}

// room waits until a request may be put.
func (o *outbox) room(ctx context.Context) error {
	return o.await(ctx, func() bool { return o.err != nil || len(o.waiting) <= outboxFull })
}

// flushed waits until nothing is left to write, and nobody writes.
func (o *outbox) flushed(ctx context.Context) error {
	return o.await(ctx, func() bool { return !o.busy })
}

func (o *outbox) await(ctx context.Context, ready func() bool) error {
	for {
		o.mu.Lock()
		if ready() {
			o.mu.Unlock()
			return nil
		}
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *outbox) write() {
	if err := o.writeAll(); err != nil {
		o.failed(err)
	}
}

func (o *outbox) writeAll() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for err == nil && o.err == nil && len(o.waiting) > 0 {
		batch := o.waiting
		o.waiting, o.spare, o.replies = o.spare, nil, 0
		o.taken += int64(len(batch))
		o.mu.Unlock()
		err = o.writeBatch(batch)
		o.mu.Lock()
		if cap(batch) <= outboxSpare {
			o.spare = batch[:0]
		}
		o.signal()
	}
	if err != nil && o.err == nil {
		o.err, o.waiting = err, nil
	}
	o.busy = false
	o.signal()
	return err
}

func (o *outbox) writeBatch(batch []byte) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := o.conn.Write(batch)
	return err
}

func (o *outbox) signal() {
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// stop drops what waits; nothing can be put any more.
func (o *outbox) stop(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err, o.waiting = err, nil
	}
	o.signal()
}
