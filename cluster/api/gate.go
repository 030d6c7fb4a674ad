package api

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// gate stands before every call: it finds out who calls, asks the table of
// methods, and writes down what was changed.
type gate struct {
	site      string
	insecure  bool
	tokens    *Tokens
	methods   map[string]method
	errors    errorMap
	logger    *slog.Logger
	directory Directory
}

func newGate(c Config) *gate {
	return &gate{
		site: c.Site, insecure: c.TLS == nil, tokens: c.Tokens,
		methods: methods(), errors: errorMap{c.Uncertain, c.Logger}, logger: c.Logger, directory: c.Directory,
	}
}

// admit returns the context that the method is called with. path is as the
// peer sent it: only what the table holds, letter for letter, is called.
func (g *gate) admit(ctx context.Context, path string) (context.Context, *caller, error) {
	c, err := g.identify(ctx)
	if err != nil {
		return ctx, &caller{name: "nobody"}, status.Error(codes.Unauthenticated, err.Error())
	}
	m, ok := g.methods[path]
	switch {
	case !ok:
		return ctx, c, status.Errorf(codes.PermissionDenied, "%q is not a method that anybody may call", path)
	case !c.may(m.wants) && c.roles == 0:
		return ctx, c, status.Error(codes.Unauthenticated, g.wanted(c, m))
	case !c.may(m.wants):
		return ctx, c, status.Error(codes.PermissionDenied, g.wanted(c, m))
	}
	if err := g.checkTable(m); err != nil {
		return ctx, c, err
	}
	return context.WithValue(ctx, callerKey{}, c), c, nil
}

// checkTable refuses a call that needs the table while the table is empty or
// half loaded, or not the site's any more.
func (g *gate) checkTable(m method) error {
	if m.anyTime {
		return nil
	}
	if err := g.directory.CaughtUp(); err != nil {
		return unavailable("NOT_READY", err.Error()+"; try another node")
	}
	return nil
}

func (g *gate) wanted(c *caller, m method) string {
	if c.roles != 0 {
		return fmt.Sprintf("%s has not the role %s", c.name, m.wants)
	}
	if g.insecure {
		return "without TLS this node answers only programs on its own machine"
	}
	return "a client certificate or a bearer token is wanted"
}

func (g *gate) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	err = g.pass(ctx, info.FullMethod, func(ctx context.Context) error {
		resp, err = next(ctx, req)
		return err
	})
	return resp, err
}

func (g *gate) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	return g.pass(s.Context(), info.FullMethod, func(ctx context.Context) error {
		return next(srv, &knownStream{s, ctx, callerOf(ctx)})
	})
}

// pass admits a call, makes it, and records it.
func (g *gate) pass(ctx context.Context, path string, call func(context.Context) error) error {
	record := &record{}
	inner, c, err := g.admit(context.WithValue(ctx, recordKey{}, record), path)
	if err == nil {
		err = g.errors.status(g.shielded(inner, path, call))
	}
	if g.methods[path].audit {
		record.write(g.logger, c.name, path, err)
	}
	return err
}

// shielded makes the call; a fault in one call ends that call only.
func (g *gate) shielded(ctx context.Context, path string, call func(context.Context) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			g.logger.Error("a call failed by a fault in this program", "method", path, "fault", fault, "stack", string(debug.Stack()))
			err = status.Error(codes.Internal, "a fault in the server; its log says more")
		}
	}()
	return call(ctx)
}

// knownStream is a stream whose context knows the caller. It ends once the
// caller may not what it was opened with any more.
type knownStream struct {
	grpc.ServerStream
	ctx    context.Context
	caller *caller
}

// SendMsg sends to who may still be sent to.
func (s *knownStream) SendMsg(m any) error {
	if s.caller.still != nil {
		if err := s.caller.still(); err != nil {
			return status.Error(codes.Unauthenticated, err.Error())
		}
	}
	return s.ServerStream.SendMsg(m)
}

func (s *knownStream) Context() context.Context { return s.ctx }
