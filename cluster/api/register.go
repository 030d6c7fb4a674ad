package api

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// bodyTimeout limits how long the request of a call that has one takes to
// arrive.
const bodyTimeout = 10 * time.Second

// registrar registers services with the gate before each of their methods. It
// stands where an interceptor would, but is called before the body is read.
type registrar struct {
	*grpc.Server
	gate  *gate
	local map[string]localMethod // as calls within this process make them
}

// RegisterService registers a service whose methods are those of impl.
func (r registrar) RegisterService(d *grpc.ServiceDesc, impl any) {
	guarded := *d
	guarded.Methods, guarded.Streams = slices.Clone(d.Methods), slices.Clone(d.Streams)
	for i := range guarded.Methods {
		r.local["/"+d.ServiceName+"/"+d.Methods[i].MethodName] = localMethod{impl: impl, unary: d.Methods[i].Handler}
		guarded.Methods[i].Handler = r.gate.wrapUnary(guarded.Methods[i].Handler)
	}
	for i := range guarded.Streams {
		if s := d.Streams[i]; !s.ClientStreams {
			r.local["/"+d.ServiceName+"/"+s.StreamName] = localMethod{impl: impl, stream: s.Handler}
		}
		guarded.Streams[i].Handler = r.gate.wrapStream(guarded.Streams[i].Handler)
	}
	r.Server.RegisterService(&guarded, impl)
}

// unaryHandler is the type of a method's handler in a service's description.
type unaryHandler = func(srv any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (any, error)

func (g *gate) wrapUnary(next unaryHandler) unaryHandler {
	return func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (resp any, err error) {
		err = g.runCall(ctx, func(ctx context.Context, c *call) (err error) {
			resp, err = next(srv, ctx, func(m any) error { return c.receiveWithin(m, bodyTimeout, decode) }, nil)
			if err == nil {
				c.countSent(wireSize(resp))
			}
			return err
		})
		return resp, err
	}
}

func (g *gate) wrapStream(next grpc.StreamHandler) grpc.StreamHandler {
	return func(srv any, s grpc.ServerStream) error {
		return g.runCall(s.Context(), func(ctx context.Context, c *call) error {
			return next(srv, &countedStream{s, ctx, c})
		})
	}
}

// wireSize returns the number of octets of a message on the wire.
func wireSize(m any) int {
	p, ok := m.(proto.Message)
	if !ok {
		return 0
	}
	return proto.Size(p) + 5 // gRPC's own prefix
}

// receiveWithin reads a message of the call's, which has to arrive within a time.
func (r *call) receiveWithin(m any, within time.Duration, read func(any) error) error {
	late := time.AfterFunc(within, func() { r.endWith(errLateBody) })
	defer late.Stop()
	got := &received{message: m}
	if err := read(got); err != nil {
		return err
	}
	if got.err == errTooLarge {
		return errTooLarge
	}
	if got.err != nil {
		return invalidArgument("it is not a request of this method: " + got.err.Error())
	}
	wire := wireSize(m)
	return r.countMessage(wire, messageFactor*wire+messageCost)
}

// countedStream is a stream whose context knows the caller, and whose messages
// are counted and bounded in time. It ends once the caller may no longer do
// what it was opened for.
type countedStream struct {
	grpc.ServerStream
	ctx  context.Context
	call *call
}

func (s *countedStream) Context() context.Context { return s.ctx }

// RecvMsg reads the next message, within the idle time of the method.
func (s *countedStream) RecvMsg(m any) error {
	within := bodyTimeout
	if s.call.method.idle > 0 {
		within = s.call.method.idle
	}
	return s.call.receiveWithin(m, within, s.ServerStream.RecvMsg)
}

// SendMsg sends to who may still be sent to, and reads what is sent.
func (s *countedStream) SendMsg(m any) error {
	if still := s.call.caller.still; still != nil {
		if err := still(); err != nil {
			return unauthenticated(err)
		}
	}
	within := slowTimeout
	if s.call.method.slow > 0 {
		within = s.call.method.slow
	}
	late := time.AfterFunc(within, func() { s.call.endWith(timedOut(s.call.method, "the response was not read in time")) })
	defer late.Stop()
	s.call.countSent(wireSize(m))
	return s.ServerStream.SendMsg(m)
}
