package netio

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// WebSocket is the transport of a WebSocket, and its conn. Each write is a
// message of complete lines (SIMP.md, section 10).
type WebSocket struct {
	socket   *websocket.Conn
	context  context.Context // of the reader
	cancel   context.CancelFunc
	message  io.Reader // being read
	readBuf  [512]byte
	written  atomic.Uint64
	ending   sync.WaitGroup
	began    time.Time
	lastRead atomic.Int64 // when octets last arrived, in ns since began
	pinger   *time.Timer
}

// silenceTime is the silence after which a WebSocket ping is sent, because
// proxies close connections that carry nothing for a minute.
const silenceTime = 30 * time.Second

// NewWebSocket returns the transport of c.
func NewWebSocket(c *websocket.Conn) *WebSocket {
	ctx, cancel := context.WithCancel(context.Background())
	c.SetReadLimit(-1) // lines and literals have their own
	w := &WebSocket{socket: c, context: ctx, cancel: cancel, began: time.Now()}
	w.pinger = time.AfterFunc(silenceTime, w.pingIfSilent)
	return w
}

// pingIfSilent sends a WebSocket ping if nothing has arrived for silenceTime.
// It does not wait for the pong, because SIMP's PING checks whether the
// client is alive. The timer calls it, never twice at a time.
func (w *WebSocket) pingIfSilent() {
	silent := time.Since(w.began) - time.Duration(w.lastRead.Load())
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

func (w *WebSocket) Read() (octets []byte, whole bool, err error) {
	if w.message == nil {
		if _, w.message, err = w.socket.Reader(w.context); err != nil {
			return nil, false, err
		}
	}
	n, err := w.message.Read(w.readBuf[:])
	w.lastRead.Store(int64(time.Since(w.began)))
	if err == io.EOF {
		w.message = nil
		return w.readBuf[:n], true, nil
	}
	return w.readBuf[:n], false, err
}

func (w *WebSocket) Write(b []byte) (n int, clear bool, err error) {
	if len(b) == 0 {
		return 0, true, nil
	}
	if err := w.socket.Write(context.Background(), websocket.MessageBinary, b); err != nil {
		return 0, false, err
	}
	w.written.Add(uint64(len(b)))
	return len(b), true, nil
}

func (w *WebSocket) WaitWritable() error { return nil }
func (w *WebSocket) IsBlocking() bool    { return true }
func (w *WebSocket) BatchSize() int      { return 1 }
func (w *WebSocket) SentOctets() uint64  { return w.written.Load() }

// CloseWrite starts the closing handshake, which ends reading too.
func (w *WebSocket) CloseWrite() error {
	w.ending.Go(func() { _ = w.socket.Close(websocket.StatusNormalClosure, "") })
	return nil
}

// SetReadDeadline ends reading at a time in the future. A time in the past
// has no effect, because the closing handshake ends reading after the last
// line was written.
func (w *WebSocket) SetReadDeadline(at time.Time) error {
	if d := time.Until(at); d > 0 {
		time.AfterFunc(d, w.cancel)
	}
	return nil
}

// Close closes the connection at once.
func (w *WebSocket) Close() error {
	w.cancel()
	w.pinger.Stop()
	return w.socket.CloseNow()
}

// Stream returns the connection for Conn.Init.
func (w *WebSocket) Stream() Stream { return Stream{w, w} }

// Wait waits until the closing handshake has ended, if there is one.
func (w *WebSocket) Wait() { w.ending.Wait() }
