package server

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// web is the wire of a WebSocket, and its conn. Each write is a message of
// whole lines. (SIMP.md, section 10.)
type web struct {
	socket  *websocket.Conn
	context context.Context // of the reader
	cancel  context.CancelFunc
	message io.Reader // that is being read
	small   [512]byte
	taken   atomic.Uint64
	ending  sync.WaitGroup
	began   time.Time
	heard   atomic.Int64 // when octets came last, in ns since began
	pinger  *time.Timer
}

// silenceTime is after how much silence a WebSocket is pinged: proxies on the
// way end connections that carry nothing for a minute.
const silenceTime = 30 * time.Second

func newWeb(c *websocket.Conn) *web {
	ctx, cancel := context.WithCancel(context.Background())
	c.SetReadLimit(-1) // lines and literals have their own
	w := &web{socket: c, context: ctx, cancel: cancel, began: time.Now()}
	w.pinger = time.AfterFunc(silenceTime, w.pingIfSilent)
	return w
}

// pingIfSilent sends a WebSocket ping if nothing has come for silenceTime. It
// does not wait for the pong: whether the client lives is for SIMP's PING to
// find out. The timer calls it, never twice at a time.
func (w *web) pingIfSilent() {
	silent := time.Since(w.began) - time.Duration(w.heard.Load())
	if silent >= silenceTime {
		ctx, cancel := context.WithTimeout(w.context, silenceTime/2)
		_ = w.socket.Ping(ctx) // an error is the reader's to find
		cancel()
		silent = 0
	}
	if w.context.Err() == nil {
		w.pinger.Reset(silenceTime - silent)
	}
}

func (w *web) read() (octets []byte, whole bool, err error) {
	if w.message == nil {
		if _, w.message, err = w.socket.Reader(w.context); err != nil {
			return nil, false, err
		}
	}
	n, err := w.message.Read(w.small[:])
	w.heard.Store(int64(time.Since(w.began)))
	if err == io.EOF {
		w.message = nil
		return w.small[:n], true, nil
	}
	return w.small[:n], false, err
}

func (w *web) write(b []byte) (n int, clear bool, err error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	if err := w.socket.Write(context.Background(), websocket.MessageBinary, b); err != nil {
		return 0, false, err
	}
	w.taken.Add(uint64(len(b)))
	return len(b), true, nil
}

func (w *web) wait() error  { return nil }
func (w *web) waits() bool  { return true }
func (w *web) batch() int   { return 1 }
func (w *web) sent() uint64 { return w.taken.Load() }

// closeWrite begins the closing handshake, which ends the reading too.
func (w *web) closeWrite() error {
	w.ending.Go(func() { _ = w.socket.Close(websocket.StatusNormalClosure, "") })
	return nil
}

// SetReadDeadline ends reading at a time to come. A time that is past has no
// effect: the closing handshake ends reading once the last line is written.
func (w *web) SetReadDeadline(at time.Time) error {
	if d := time.Until(at); d > 0 {
		time.AfterFunc(d, w.cancel)
	}
	return nil
}

// Close ends it at once.
func (w *web) Close() error {
	w.cancel()
	w.pinger.Stop()
	return w.socket.CloseNow()
}
