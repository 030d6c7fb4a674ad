package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Identity names who makes calls in this process, and holds their roles. The
// operator's console makes calls on behalf of whoever signed in to it.
type Identity struct {
	Name  string
	Roles []string // as certificates and token files name them
	Via   string   // where the call comes from, for the audit log
}

// caller returns the identity as the gate knows callers. A role that this
// version does not know gives nothing.
func (i Identity) caller() *caller {
	c := &caller{name: i.Name, via: i.Via}
	for _, name := range i.Roles {
		if r, err := parseRole(name); err == nil {
			c.roles |= r
		}
	}
	return c
}

// localMethod is a method as calls in this process make it.
type localMethod struct {
	impl   any
	unary  unaryHandler
	stream grpc.StreamHandler
}

// Authorize returns nil if the identity may call the method, by its full name.
// Its errors are statuses.
func (s *Server) Authorize(who Identity, path string) error {
	_, err := s.gate.authorizeMethod(who.caller(), path)
	return err
}

// LogRefusal records that the identity may not call a method now, as for calls
// over the network: in the audit log if the method changes something, and once
// for many refusals.
func (s *Server) LogRefusal(who Identity, path string, err error) {
	s.gate.refused.Add(1)
	s.gate.logRefusal(who.Via+" "+who.Name, who.caller(), path, err)
}

// Local returns a connection whose calls are made in this process, in the name
// of an identity. They pass the same table of roles and the same audit log as
// calls over the network. Methods whose requests are a stream are not served.
func (s *Server) Local(who Identity) grpc.ClientConnInterface {
	return &localConn{server: s, caller: who.caller()}
}

type localConn struct {
	server *Server
	caller *caller
}

// Invoke makes a call with one request and one response.
func (l *localConn) Invoke(ctx context.Context, path string, request, response any, _ ...grpc.CallOption) error {
	return l.call(ctx, path, func(ctx context.Context, m localMethod) error {
		if m.unary == nil {
			return errNotLocal
		}
		decode := func(into any) error {
			proto.Merge(into.(proto.Message), request.(proto.Message))
			return nil
		}
		answer, err := m.unary(m.impl, ctx, decode, nil)
		if err == nil {
			proto.Merge(response.(proto.Message), answer.(proto.Message))
		}
		return err
	})
}

// NewStream begins a call with one request and a stream of responses.
func (l *localConn) NewStream(ctx context.Context, _ *grpc.StreamDesc, path string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &localStream{ctx: ctx, request: make(chan proto.Message, 1), response: make(chan proto.Message), done: make(chan struct{})}
	if !l.server.beginLocal(func() { cancel(errClosing) }, func() {
		defer close(s.done)
		s.err = l.call(ctx, path, func(ctx context.Context, m localMethod) error {
			if m.stream == nil {
				return errNotLocal
			}
			return m.stream(m.impl, &localServerStream{s, ctx})
		})
		cancel(nil)
	}) {
		cancel(nil)
		return nil, errClosing
	}
	return s, nil
}

// beginLocal runs a stream until it ends or the server shuts down. It reports
// whether the server still runs.
func (s *Server) beginLocal(cancel, run func()) bool {
	s.localMu.Lock()
	defer s.localMu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	stop := context.AfterFunc(s.closing, cancel)
	s.local.Go(func() {
		defer stop()
		run()
	})
	return true
}

var errNotLocal = errors.New("this method can't be called in this process")

// call makes a call through the gate.
func (l *localConn) call(ctx context.Context, path string, f func(context.Context, localMethod) error) error {
	g := l.server.gate
	m, err := g.authorizeMethod(l.caller, path)
	if err != nil {
		g.refused.Add(1)
		if m.audit {
			(&record{}).write(g, l.caller, path, err)
		}
		return err
	}
	if m.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.limit)
		defer cancel()
	}
	ctx = context.WithValue(ctx, callerKey{}, l.caller)
	return g.runRecorded(ctx, l.caller, path, m, func(ctx context.Context) error { return f(ctx, l.server.methods[path]) }, func(err error) error { return err })
}

// localStream is the caller's end of a stream in this process.
type localStream struct {
	ctx      context.Context
	request  chan proto.Message
	response chan proto.Message
	once     sync.Once
	done     chan struct{}
	err      error // once done is closed
}

func (s *localStream) Header() (metadata.MD, error) { return nil, nil }
func (s *localStream) Trailer() metadata.MD         { return nil }
func (s *localStream) CloseSend() error             { return nil }
func (s *localStream) Context() context.Context     { return s.ctx }

// SendMsg sends the request; there is one.
func (s *localStream) SendMsg(m any) error {
	err := io.EOF
	s.once.Do(func() { s.request <- m.(proto.Message); err = nil })
	return err
}

// RecvMsg waits for the next response.
func (s *localStream) RecvMsg(m any) error {
	select {
	case r := <-s.response:
		proto.Merge(m.(proto.Message), r)
		return nil
	case <-s.done:
		if s.err == nil {
			return io.EOF
		}
		return s.err
	}
}

// localServerStream is the handler's end.
type localServerStream struct {
	*localStream
	ctx context.Context
}

func (s *localServerStream) Context() context.Context     { return s.ctx }
func (s *localServerStream) SetHeader(metadata.MD) error  { return nil }
func (s *localServerStream) SendHeader(metadata.MD) error { return nil }
func (s *localServerStream) SetTrailer(metadata.MD)       {}

// RecvMsg takes the request.
func (s *localServerStream) RecvMsg(m any) error {
	select {
	case r := <-s.request:
		proto.Merge(m.(proto.Message), r)
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// SendMsg hands a response over.
func (s *localServerStream) SendMsg(m any) error {
	r, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("a response of the type %T", m)
	}
	select {
	case s.response <- proto.Clone(r):
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}
