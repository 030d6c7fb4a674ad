package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

// gate stands before every call: once its header has come it finds out who
// calls and asks the table of methods, before gRPC takes anything of the body.
// It bounds what the call holds and how long it takes, and writes down what was
// changed.
type gate struct {
	site      string
	insecure  bool
	tokens    *Tokens
	methods   map[string]method
	errors    errorMap
	refusals  *refusals
	refused   atomic.Uint64 // calls
	seen      seenCertificates
	logger    *slog.Logger
	directory Directory
	audit     recentAudit
}

func newGate(c Config) *gate {
	r := newRefusals(c.Logger)
	return &gate{
		site: c.Site, insecure: c.TLS == nil, tokens: c.Tokens, refusals: r,
		methods: methodTable(), errors: errorMap{func() bool { return c.Directory.QuorumLostFor() > 0 }, r}, logger: c.Logger, directory: c.Directory,
	}
}

// refusalKey is under which a context has the error that its call ends with.
type refusalKey struct{}

// longDeadline is the longest time that gRPC keeps a timer for a call that tap
// refuses, as it does until the deadline that the caller has set.
const longDeadline = time.Minute

// tapHandle is called with the header of each call, by the goroutine that reads its
// connection. gRPC drops the body of a call that it refuses.
func (g *gate) tapHandle(ctx context.Context, info *tap.Info) (context.Context, error) {
	p, _ := peer.FromContext(ctx)
	c, ok := p.AuthInfo.(connInfo)
	if !ok {
		return ctx, statusWithDetails(codes.Internal, "the connection was not admitted", reasonFault.errorInfo())
	}
	if ctx.Err() != nil {
		return ctx, errNoTimeLeft
	}
	who, m, err := g.authorizeCall(ctx, info.FullMethodName)
	if err == nil {
		ctx, err = c.conn.beginCall(context.WithValue(ctx, callerKey{}, who), who, info.FullMethodName, m, info.Header)
	}
	if err == nil {
		return ctx, nil
	}
	g.refused.Add(1)
	c.conn.countRefusal()
	g.logRefusal(cmp.Or(who.key, c.conn.source.String()), who, info.FullMethodName, err)
	if end, ok := ctx.Deadline(); ok && time.Until(end) > longDeadline {
		return context.WithValue(ctx, refusalKey{}, err), nil // its handler refuses it, which stops the timer
	}
	return ctx, err
}

// refuseUnknown is the handler of methods that don't exist, where tapHandle has
// left the refusal to it.
func refuseUnknown(_ any, s grpc.ServerStream) error {
	if err, ok := s.Context().Value(refusalKey{}).(error); ok {
		return err
	}
	return errGone // no call of a method that is not in the table gets here otherwise
}

// logRefusal writes a line, or counts it where the same has just been written for
// whoever from names.
func (g *gate) logRefusal(from string, who *caller, path string, err error) {
	code := status.Code(err)
	if !g.refusals.countRefusal(cause{code.String(), from}) {
		return
	}
	if g.methods[path].audit {
		(&record{}).write(g, who, path, err)
		return
	}
	g.logger.Info("a call was refused", "who", who.name, "from", from, "method", limitText(path), "code", code.String(), "why", limitText(status.Convert(err).Message()))
}

// limitText keeps what a stranger has written short.
func limitText(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// authorizeCall returns who calls, and what there is to know of the method, if they
// may call it. path is as the peer sent it: only what the table holds, letter
// for letter, is called.
func (g *gate) authorizeCall(ctx context.Context, path string) (*caller, method, error) {
	c, err := g.identifyCaller(ctx)
	if err != nil {
		return &caller{name: nobody}, method{}, unauthenticated(err)
	}
	m, err := g.authorizeMethod(c, path)
	return c, m, err
}

// authorizeMethod returns what there is to know of a method, if the caller may
// call it.
func (g *gate) authorizeMethod(c *caller, path string) (method, error) {
	m, ok := g.methods[path]
	switch {
	case !ok:
		return m, statusWithDetails(codes.PermissionDenied, fmt.Sprintf("%q is not a method that anybody may call", limitText(path)), reasonNoMethod.errorInfo())
	case !c.hasRole(m.wants) && c.roles == 0:
		return m, g.refuseAnonymous(c)
	case !c.hasRole(m.wants):
		return m, statusWithDetails(codes.PermissionDenied, fmt.Sprintf("%s lacks the role %s", c.name, m.wants), reasonNoRole.errorInfo())
	}
	return m, nil
}

// checkTable refuses a call that needs the table while the table is empty or
// half loaded, or not the site's any more.
func (g *gate) checkTable(m method) error {
	if m.anyTime {
		return nil
	}
	if err := g.directory.CaughtUp(); err != nil {
		return unavailable(reasonNotReady, err.Error()+"; try another node")
	}
	return nil
}

// refuseAnonymous refuses a caller who has no role at all.
func (g *gate) refuseAnonymous(c *caller) error {
	switch {
	case g.insecure:
		return statusWithDetails(codes.Unauthenticated, "without TLS this node answers only programs on its own machine", reasonLocalOnly.errorInfo())
	case c.name != nobody:
		return statusWithDetails(codes.Unauthenticated, c.name+" has no role: its certificate or token has to name one", reasonNoRole.errorInfo())
	}
	return statusWithDetails(codes.Unauthenticated, "a client certificate or a bearer token is required", reasonCredentialsMissing.errorInfo())
}

// unauthenticated refuses credentials that are not valid, or not any more.
func unauthenticated(err error) error {
	r := reasonCredentialsInvalid
	if errors.Is(err, errTokenEnded) || errors.Is(err, errCertificateEnded) {
		r = reasonCredentialsExpired
	}
	return statusWithDetails(codes.Unauthenticated, err.Error(), r.errorInfo())
}

// identifyConn has the caller pay for a connection whose other end is known
// already: by its certificate, or as it is on this machine.
func (g *gate) identifyConn(c *conn, info credentials.AuthInfo) {
	who, err := g.identifyPeer(&peer.Peer{Addr: c.raw.RemoteAddr(), AuthInfo: info})
	if err != nil || who.key == "" || !c.setPayer(who.key) {
		return
	}
	if shown := shownCertificate(info); shown != nil {
		c.onEnd(g.seen.noteConnected(who.name, shown))
	}
}

// runCall makes the call of ctx that tap has admitted, and records it.
func (g *gate) runCall(ctx context.Context, call func(context.Context, *call) error) error {
	if err, ok := ctx.Value(refusalKey{}).(error); ok {
		return err
	}
	c := callOf(ctx)
	if c == nil {
		return errGone
	}
	if err := c.startHandler(ctx); err != nil {
		return err
	}
	defer c.finishHandler()
	return g.runRecorded(ctx, c.caller, c.path, c.method, func(ctx context.Context) error { return call(ctx, c) }, c.finalError)
}

// runRecorded makes a call that was authorized, and records it. final returns
// the error that the call ends with, for that of its handler.
func (g *gate) runRecorded(ctx context.Context, who *caller, path string, m method, call func(context.Context) error, final func(error) error) error {
	record := &record{}
	err := g.checkTable(m)
	if err == nil {
		err = g.errors.publicStatus(m, g.recoverCall(context.WithValue(ctx, recordKey{}, record), path, call))
	}
	err = final(err)
	if m.audit {
		record.write(g, who, path, err)
	}
	return err
}

// recoverCall makes the call; a fault in one call ends that call only.
func (g *gate) recoverCall(ctx context.Context, path string, call func(context.Context) error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			g.logger.Error("a call failed by a fault in this program", "method", path, "fault", fault, "stack", string(debug.Stack()))
			err = statusWithDetails(codes.Internal, "internal server error; see this node's log", reasonFault.errorInfo())
		}
	}()
	return call(ctx)
}
