package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc/status"
)

// Times of event streams.
const (
	lookEvery  = 350 * time.Millisecond // at what a page shows
	beatEvery  = 2 * time.Second        // so that a page notices a node that is silent
	sendLimit  = 10 * time.Second       // for a browser to take an event
	retryAfter = 1000                   // milliseconds until a browser comes again
)

// read returns a route that answers what a page shows: once, or to a browser
// that asks for events, at once and whenever it has changed.
func read(path, method string, f reader) *route {
	return &route{verb: http.MethodGet, path: path, access: byMethod, method: method, serve: func(q *request) {
		if q.wantsEvents() {
			q.stream(func(s *stream) error { return s.follow(f) })
			return
		}
		v, err := f(q.r.Context(), q)
		if err != nil {
			refuseCall(q.w, err)
			return
		}
		q.answer(v)
	}}
}

// stream is a stream of server-sent events.
type stream struct {
	*request
	ctx  context.Context // ends with the request, the console and the session
	out  *http.ResponseController
	sent time.Time
}

// errEnded says that a session is not valid any more.
var errEnded = errors.New("your session has ended")

// stream answers with events, until f returns, the browser goes away, the
// session ends or the node does.
func (q *request) stream(f func(*stream) error) {
	select {
	case q.console.streams <- struct{}{}:
		defer func() { <-q.console.streams }()
	default:
		refuse(q.w, http.StatusServiceUnavailable, "too many pages are open on this node")
		return
	}
	ctx, cancel := context.WithCancel(q.r.Context())
	defer cancel()
	defer context.AfterFunc(q.console.ctx, cancel)()
	s := &stream{request: q, ctx: ctx, out: http.NewResponseController(q.w)}
	q.w.Header().Set("Content-Type", "text/event-stream")
	q.w.Header().Set("X-Accel-Buffering", "no")
	if err := s.write(fmt.Appendf(nil, "retry: %d\n\n", retryAfter)); err != nil {
		return
	}
	if err := f(s); err != nil && ctx.Err() == nil {
		_ = s.send("end", "", map[string]string{"error": status.Convert(err).Message()}) // the browser may be gone
	}
}

// check returns an error once the session, or its role, is gone.
func (s *stream) check() error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if err := s.console.Keys.check(s.session, time.Now()); err != nil {
		return errEnded
	}
	return s.authorize()
}

// send sends an event. An empty kind is a message.
func (s *stream) send(kind, id string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.sendData(kind, id, data)
}

func (s *stream) sendData(kind, id string, data []byte) error {
	var b bytes.Buffer
	if kind != "" {
		fmt.Fprintf(&b, "event: %s\n", kind)
	}
	if id != "" {
		fmt.Fprintf(&b, "id: %s\n", id)
	}
	fmt.Fprintf(&b, "data: %s\n\n", data)
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) error {
	// A writer without deadlines is a test's.
	_ = s.out.SetWriteDeadline(time.Now().Add(sendLimit))
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	s.sent = time.Now()
	return s.out.Flush()
}

// beat sends a sign of life if nothing was sent for a while.
func (s *stream) beat() error {
	if time.Since(s.sent) < beatEvery {
		return nil
	}
	return s.sendData("beat", "", []byte("1"))
}

// follow sends what f returns, whenever that has changed.
func (s *stream) follow(f reader) error {
	var last []byte
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := s.check(); err != nil {
			return err
		}
		if err := s.sendChange(f, &last); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}

// sendChange looks once. What can't be read now is told, and looked at again:
// the page shows it.
func (s *stream) sendChange(f reader, last *[]byte) error {
	kind := ""
	v, err := f(s.ctx, s.request)
	if err != nil {
		kind, v = "problem", map[string]string{"error": status.Convert(err).Message()}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if now := append([]byte(kind+"\x00"), data...); !bytes.Equal(now, *last) {
		*last = now
		return s.sendData(kind, "", data)
	}
	return s.beat()
}
