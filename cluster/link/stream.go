package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	clusterv1 "simpd/proto/simp/cluster/v1"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
)

var (
	errSilent = errors.New("nothing was heard for 3 s")
	errEnded  = errors.New("the other end closed it")
)

// runStream opens a stream to the node and carries messages on it until it
// breaks or ctx ends. It is established once the node's process has
// responded.
func (p *peer) runStream(ctx context.Context) (established bool, err error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	client, err := p.link.newClient(singleUseDialer(conn))
	if err != nil {
		return false, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &stream{peer: p, addr: conn.dialed, cancel: cancel, established: make(chan struct{})}
	s.silence = time.AfterFunc(silenceTimeout, func() { cancel(errSilent) })
	defer s.silence.Stop()
	if s.grpc, err = clusterv1.NewPeerClient(client).Messages(ctx); err != nil {
		return false, errors.Join(err, context.Cause(ctx))
	}
	return s.run(ctx)
}

// connect dials the node and checks its identity.
func (p *peer) connect(ctx context.Context) (*peerConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return p.link.dial(ctx, p.id, "", callProtocol)
}

// singleUseDialer returns a dialer that returns conn once.
func singleUseDialer(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	var used atomic.Bool
	return func(context.Context, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, net.ErrClosed
		}
		return conn, nil
	}
}

// stream is one stream to a node. The goroutine that runs it writes, a second
// one reads.
type stream struct {
	peer        *peer
	addr        string // of the other end
	grpc        grpc.BidiStreamingClient[clusterv1.Frame, clusterv1.Answer]
	cancel      context.CancelCauseFunc
	silence     *time.Timer
	established chan struct{}
	process     *process // at the other end; nil if its version does not identify it
	clock       clockOffset
	frame       frameBuffer
}

func (s *stream) run(ctx context.Context) (established bool, err error) {
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		s.cancel(s.readAnswers(ctx))
	}()
	err = s.writeFrames(ctx)
	s.cancel(err)
	<-reader
	if s.process != nil {
		s.peer.link.processes.release(s.process)
	}
	select {
	case <-s.established:
		s.peer.onDisconnected()
		return true, context.Cause(ctx)
	default:
		return false, context.Cause(ctx)
	}
}

// readAnswers handles answers until the stream ends. The first pong
// establishes it.
func (s *stream) readAnswers(ctx context.Context) error {
	for first := true; ; {
		a, err := s.grpc.Recv()
		if err != nil {
			return fmt.Errorf("%w: %w", errEnded, err)
		}
		s.silence.Reset(silenceTimeout)
		s.peer.touch()
		if a.Rejection != nil {
			s.peer.avoidAddr(s.addr)
			return s.peer.link.rejectionError(s.peer.id, a.Rejection)
		}
		if a.Pong != nil {
			s.clock.observe(a.Pong.ClockUs, s.peer.link.clock.now())
			s.peer.setRemoteConfiguration(a.Pong.Configuration)
			if first {
				if err := s.identify(ctx, a.Pong); err != nil {
					return err
				}
				first = false
				s.peer.onConnected(s.addr)
				s.peer.usageReports.start(a.Pong.CountsUsage)
				close(s.established)
			} else if s.process != nil {
				s.peer.link.processes.touch(s.process, a.Pong.PingUs)
			}
		}
		for _, o := range a.Outcome {
			s.peer.out.acknowledge(o.Number, protocol.Outcome{Status: protocol.Status(o.Status), Text: o.Text})
		}
	}
}

// identify checks that the process that has responded is the one that runs as
// the node. A version that does not tell is trusted.
func (s *stream) identify(ctx context.Context, p *clusterv1.Pong) (err error) {
	s.peer.setChecksIncarnation(p.Incarnation != 0)
	if p.Incarnation != 0 {
		s.process, err = s.peer.link.admitProcess(ctx, s.peer.id, process{incarnation: p.Incarnation, checksIncarnation: true}, p.Lineage)
	}
	if err != nil {
		s.peer.avoidAddr(s.addr)
	}
	return err
}

// writeFrames sends queued envelopes as soon as the stream accepts them, and
// a ping each second and soon after a login has failed.
func (s *stream) writeFrames(ctx context.Context) error {
	l := s.peer.link
	hello := &clusterv1.Hello{
		Incarnation: l.config.Member.Incarnation, Stream: l.streams.Add(1), ClusterAddr: l.addr, GossipAddr: l.gossip.advertisedAddr(), Lineage: l.config.Lineage(),
	}
	if err := s.grpc.Send(&clusterv1.Frame{Hello: hello, Ping: true, PingUs: l.clock.now()}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.established:
	}
	pings := time.NewTicker(pingInterval)
	defer pings.Stop()
	failures := time.NewTimer(reportDelay) // for those from before the stream
	defer failures.Stop()
	for {
		if err := s.sendQueued(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.peer.sendPending:
		case <-s.peer.usagePending:
			if err := s.sendUsage(); err != nil {
				return err
			}
		case <-s.peer.reportsPending:
			failures.Reset(reportDelay)
		case <-failures.C:
			if err := s.ping(); err != nil {
				return err
			}
		case <-pings.C:
			if err := s.ping(); err != nil {
				return err
			}
		}
	}
}

func (s *stream) ping() error {
	s.peer.out.expirePending(time.Now())
	failed, known := s.peer.loginReports.drain()
	return s.grpc.Send(&clusterv1.Frame{Ping: true, PingUs: s.peer.link.clock.now(), Failure: failed, Known: known})
}

// sendUsage sends what was counted of the site's limits.
func (s *stream) sendUsage() error {
	usage := s.peer.usageReports.drain()
	if len(usage) == 0 {
		return nil
	}
	return s.grpc.Send(&clusterv1.Frame{Usage: usage})
}

// sendQueued sends frames until the queue is empty.
func (s *stream) sendQueued() error {
	for {
		f := s.frame.fill(s)
		if f == nil {
			return nil
		}
		if err := s.grpc.Send(f); err != nil {
			return err
		}
	}
}

// frameBuffer is a Frame whose parts are reused for each one that is sent.
type frameBuffer struct {
	sent     clusterv1.Frame
	parcels  []envelope
	messages [maxFrame]clusterv1.Message
	sessions [maxFrame]storev1.Session
}

// fill takes queued envelopes into the frame; it returns nil if there are
// none.
func (f *frameBuffer) fill(s *stream) *clusterv1.Frame {
	var first uint64
	clear(f.parcels)
	f.parcels, first = s.peer.out.takeFrame(f.parcels[:0], time.Now())
	if len(f.parcels) == 0 {
		return nil
	}
	f.sent.Message = f.sent.Message[:0]
	for i, p := range f.parcels {
		m := &f.messages[i]
		f.encode(m, &f.sessions[i], p)
		m.Number = first + uint64(i)
		m.DeadlineUs = s.clock.toRemote(s.peer.link.clock.toMicros(p.message.Deadline))
		f.sent.Message = append(f.sent.Message, m)
	}
	return &f.sent
}

func (f *frameBuffer) encode(m *clusterv1.Message, session *storev1.Session, p envelope) {
	p.session.PutProto(session)
	m.Session = session
	m.From, m.To, m.Id = p.message.From.String(), p.message.To.String(), p.message.ID
	m.TimeUs = p.message.Time.UnixMicro()
	m.Entity = p.message.Entity
	m.Repeatable = p.message.Repeatable
	m.Trace = p.message.Trace
}
