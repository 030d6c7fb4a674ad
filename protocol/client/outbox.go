package client

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// outbox writes to a connection from a goroutine that exists only while there
// is something to write, so that a reader never waits for a slow writer.
type outbox struct {
	conn       net.Conn
	onError    func(error) // called at most once, when writing fails
	maxReplies int         // limit of pendingReplies; see reply

	mu             sync.Mutex
	pending        []byte
	spare          []byte // an empty buffer to use next
	addedOctets    int64  // octets queued so far
	takenOctets    int64  // octets passed to the connection so far, which may have been sent
	pendingReplies int    // octets of replies in pending
	writing        bool
	err            error
	changed        chan struct{} // if not nil: closed at the next change
}

const (
	maxPendingOctets = 4 << 20 // requests wait for room above it
	maxSpareOctets   = 64 << 10
	writeTimeout     = 30 * time.Second
)

// errNoRoom means that the server has read nothing for so long that replies
// alone fill the outbox.
var errNoRoom = errors.New("the server reads nothing")

// write queues b. It returns the offset of its end, for mayBeSent.
func (o *outbox) write(b []byte) (end int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writeLocked(b)
}

func (o *outbox) writeLocked(b []byte) (end int64, err error) {
	if o.err != nil {
		return 0, o.err
	}
	o.pending = append(o.pending, b...)
	o.addedOctets += int64(len(b))
	if !o.writing {
		o.writing = true
		go o.run()
	}
	return o.addedOctets, nil
}

// reply queues a reply. The other side decides how many there are, so if more
// than maxReplies octets of them are pending, the outbox fails.
func (o *outbox) reply(b []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pendingReplies += len(b); o.pendingReplies > o.maxReplies && o.err == nil {
		o.err, o.pending = errNoRoom, nil
	}
	_, err := o.writeLocked(b)
	return err
}

// mayBeSent reports whether all octets before the offset end may have been
// sent.
func (o *outbox) mayBeSent(end int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.takenOctets >= end
}

// unsent returns the number of pending octets.
func (o *outbox) unsent() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

// awaitRoom waits until a request may be queued.
func (o *outbox) awaitRoom(ctx context.Context) error {
	return o.await(ctx, func() bool { return o.err != nil || len(o.pending) <= maxPendingOctets })
}

// awaitFlushed waits until everything has been written.
func (o *outbox) awaitFlushed(ctx context.Context) error {
	return o.await(ctx, func() bool { return !o.writing })
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

func (o *outbox) run() {
	if err := o.flush(); err != nil {
		o.onError(err)
	}
}

func (o *outbox) flush() (err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for err == nil && o.err == nil && len(o.pending) > 0 {
		batch := o.pending
		o.pending, o.spare, o.pendingReplies = o.spare, nil, 0
		o.takenOctets += int64(len(batch))
		o.mu.Unlock()
		err = o.writeBatch(batch)
		o.mu.Lock()
		if cap(batch) <= maxSpareOctets {
			o.spare = batch[:0]
		}
		o.notifyLocked()
	}
	if err != nil && o.err == nil {
		o.err, o.pending = err, nil
	}
	o.writing = false
	o.notifyLocked()
	return err
}

func (o *outbox) writeBatch(batch []byte) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := o.conn.Write(batch)
	return err
}

func (o *outbox) notifyLocked() {
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// stop drops what is pending and refuses more.
func (o *outbox) stop(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err, o.pending = err, nil
	}
	o.notifyLocked()
}
