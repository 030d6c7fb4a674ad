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

// converse opens a stream to the node and carries messages on it until it
// breaks or ctx ends. It is established once the node's process has answered.
func (p *peer) converse(ctx context.Context) (established bool, err error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	client, err := p.link.client(once(conn))
	if err != nil {
		return false, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &stream{peer: p, at: conn.dialed, cancel: cancel, established: make(chan struct{})}
	s.silence = time.AfterFunc(silenceTimeout, func() { cancel(errSilent) })
	defer s.silence.Stop()
	if s.grpc, err = clusterv1.NewPeerClient(client).Messages(ctx); err != nil {
		return false, errors.Join(err, context.Cause(ctx))
	}
	return s.run(ctx)
}

// connect dials the node and finds out that it is the one.
func (p *peer) connect(ctx context.Context) (*peerConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return p.link.dial(ctx, p.id, "", callProtocol)
}

// once is a dialer for a connection that is there already, and for no second one.
func once(conn net.Conn) func(context.Context, string) (net.Conn, error) {
	var used atomic.Bool
	return func(context.Context, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, net.ErrClosed
		}
		return conn, nil
	}
}

// stream is one life of the stream to a node. The goroutine that runs it
// writes, a second one reads.
type stream struct {
	peer        *peer
	at          string // the address of the other end
	grpc        grpc.BidiStreamingClient[clusterv1.Frame, clusterv1.Answer]
	cancel      context.CancelCauseFunc
	silence     *time.Timer
	established chan struct{}
	process     *process // that is at the other end; nil: its version does not say which
	clock       farClock
	frame       frame
}

func (s *stream) run(ctx context.Context) (established bool, err error) {
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		s.cancel(s.read(ctx))
	}()
	err = s.write(ctx)
	s.cancel(err)
	<-reader
	if s.process != nil {
		s.peer.link.processes.release(s.process)
	}
	select {
	case <-s.established:
		s.peer.lost()
		return true, context.Cause(ctx)
	default:
		return false, context.Cause(ctx)
	}
}

// read takes answers until the stream ends. Its first pong establishes it.
func (s *stream) read(ctx context.Context) error {
	for first := true; ; {
		a, err := s.grpc.Recv()
		if err != nil {
			return fmt.Errorf("%w: %w", errEnded, err)
		}
		s.silence.Reset(silenceTimeout)
		s.peer.alive()
		if a.Rejection != nil {
			s.peer.avoid(s.at)
			return s.peer.link.rejectedBy(s.peer.id, a.Rejection)
		}
		if a.Pong != nil {
			s.clock.heard(a.Pong.ClockUs, s.peer.link.clock.now())
			s.peer.tell(a.Pong.Configuration)
			if first {
				if err := s.identify(ctx, a.Pong); err != nil {
					return err
				}
				first = false
				s.peer.reached(s.at)
				close(s.established)
			} else if s.process != nil {
				s.peer.link.processes.hear(s.process, a.Pong.PingUs)
			}
		}
		for _, o := range a.Outcome {
			s.peer.out.answered(o.Number, protocol.Outcome{Status: protocol.Status(o.Status), Text: o.Text})
		}
	}
}

// identify finds out whether the process that has answered is the one that runs
// as the node. A version that does not say is believed.
func (s *stream) identify(ctx context.Context, p *clusterv1.Pong) (err error) {
	s.peer.takesBoot(p.Boot != 0)
	if p.Boot != 0 {
		s.process, err = s.peer.link.admitProcess(ctx, s.peer.id, process{boot: p.Boot, checks: true}, p.Lineage)
	}
	if err != nil {
		s.peer.avoid(s.at)
	}
	return err
}

// write sends what waits, as soon as it waits and the stream takes it, and a
// ping each second, and soon after a login has failed.
func (s *stream) write(ctx context.Context) error {
	l := s.peer.link
	hello := &clusterv1.Hello{
		Boot: l.config.Member.Boot, Stream: l.streams.Add(1), ClusterAddr: l.addr, GossipAddr: l.gossip.address(), Lineage: l.config.Lineage(),
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
	failures := time.NewTimer(failuresTime) // for those from before the stream
	defer failures.Stop()
	for {
		if err := s.drain(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.peer.wake:
		case <-s.peer.failed:
			failures.Reset(failuresTime)
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
	s.peer.out.overdue(time.Now())
	failed, known := s.peer.failures.take()
	return s.grpc.Send(&clusterv1.Frame{Ping: true, PingUs: s.peer.link.clock.now(), Failure: failed, Known: known})
}

// drain sends frame after frame until nothing waits.
func (s *stream) drain() error {
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

// frame is a Frame whose parts are used again for each that is sent.
type frame struct {
	sent     clusterv1.Frame
	parcels  []parcel
	messages [maxFrame]clusterv1.Message
	sessions [maxFrame]storev1.Session
}

// fill puts what waits for the node into the frame; nil if nothing does.
func (f *frame) fill(s *stream) *clusterv1.Frame {
	var first uint64
	clear(f.parcels)
	f.parcels, first = s.peer.out.take(f.parcels[:0], time.Now())
	if len(f.parcels) == 0 {
		return nil
	}
	f.sent.Message = f.sent.Message[:0]
	for i, p := range f.parcels {
		m := &f.messages[i]
		f.write(m, &f.sessions[i], p)
		m.Number = first + uint64(i)
		m.DeadlineUs = s.clock.there(s.peer.link.clock.at(p.message.Deadline))
		f.sent.Message = append(f.sent.Message, m)
	}
	return &f.sent
}

func (f *frame) write(m *clusterv1.Message, session *storev1.Session, p parcel) {
	session.Node, session.Epoch, session.Number = p.session.Node, p.session.Epoch, p.session.Number
	m.Session = session
	m.From, m.To, m.Id = p.message.From.String(), p.message.To.String(), p.message.ID
	m.TimeUs = p.message.Time.UnixMicro()
	m.Entity = p.message.Entity
	m.Repeatable = p.message.Repeatable
	m.Trace = p.message.Trace
}
