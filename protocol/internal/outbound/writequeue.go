package outbound

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"simpd/protocol"
	"simpd/protocol/wait"
)

// WriteQueue writes to a connection from a goroutine that exists only while there
// is something to write, so that a reader never waits for a slow writer.
type WriteQueue struct {
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
	changed        wait.Broadcast
}

const (
	maxPendingOctets = 4 << 20 // requests wait for room above it
	maxSpareOctets   = 64 << 10
	writeTimeout     = 30 * time.Second
)

// ErrNoRoom means that the server has read nothing for so long that replies
// alone fill the queue.
var ErrNoRoom = errors.New("the server reads nothing")

// Init sets what the queue writes to, and its limit of pending replies.
// onError is called at most once, when writing fails.
func (o *WriteQueue) Init(conn net.Conn, maxReplies int, onError func(error)) {
	o.conn, o.maxReplies, o.onError = conn, maxReplies, onError
}

// Write queues b. It returns the offset of its end, for mayBeSent.
func (o *WriteQueue) Write(b []byte) (end int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.writeLocked(b)
}

func (o *WriteQueue) writeLocked(b []byte) (end int64, err error) {
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

// Reply queues the response to a request of the other side; a notice gets
// none. The other side decides how many there are, so if more than maxReplies
// octets of them are pending, the queue fails with errNoRoom.
func (o *WriteQueue) Reply(tag string, s protocol.Status, text string) error {
	if tag == "*" {
		return nil
	}
	b := protocol.AppendResponse(nil, tag, s)
	if text != "" {
		b = protocol.AppendText(b, text)
	}
	b = protocol.AppendEnd(b)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pendingReplies += len(b); o.pendingReplies > o.maxReplies && o.err == nil {
		o.err, o.pending = ErrNoRoom, nil
	}
	_, err := o.writeLocked(b)
	return err
}

// MayBeSent reports whether all octets before the offset end may have been
// sent.
func (o *WriteQueue) MayBeSent(end int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.takenOctets >= end
}

// Unsent returns the number of pending octets.
func (o *WriteQueue) Unsent() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.pending)
}

// AwaitRoom waits until a request may be queued.
func (o *WriteQueue) AwaitRoom(ctx context.Context) error {
	return o.await(ctx, func() bool { return o.err != nil || len(o.pending) <= maxPendingOctets })
}

// AwaitFlushed waits until everything has been written.
func (o *WriteQueue) AwaitFlushed(ctx context.Context) error {
	return o.await(ctx, func() bool { return !o.writing })
}

func (o *WriteQueue) await(ctx context.Context, ready func() bool) error {
	return o.changed.Await(ctx, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return ready()
	})
}

func (o *WriteQueue) run() {
	if err := o.flush(); err != nil {
		o.onError(err)
	}
}

func (o *WriteQueue) flush() (err error) {
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
		o.changed.Notify()
	}
	if err != nil && o.err == nil {
		o.err, o.pending = err, nil
	}
	o.writing = false
	o.changed.Notify()
	return err
}

func (o *WriteQueue) writeBatch(batch []byte) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := o.conn.Write(batch)
	return err
}

// Stop drops what is pending and refuses more.
func (o *WriteQueue) Stop(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err, o.pending = err, nil
	}
	o.changed.Notify()
}
