package link

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcpeer "google.golang.org/grpc/peer"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/protocol/wait"
	"simpd/store"
)

// maxOutcomes is the maximum number of outcomes in one frame.
const maxOutcomes = 256

var errReplaced = errors.New("a newer stream of the same node has taken its place")

// inboundStream is the receiving end of another node's stream. It delivers
// each message before its deadline or reports that it did not. Once a newer
// stream of the same node exists it delivers nothing more, so that messages
// delayed on the old stream can't arrive after newer ones.
type inboundStream struct {
	link  *Link
	from  string
	hello *clusterv1.Hello
	grpc  grpc.BidiStreamingServer[clusterv1.Frame, clusterv1.Answer]

	process *process // the process that opened it; nil before it is admitted

	frameMu    sync.Mutex // held while a frame is handled
	isReplaced bool       // a newer stream exists

	mu       sync.Mutex
	outcomes []outcome
	pong     *clusterv1.Pong
	wake     wait.Signal
}

// outcome is the outcome of the message with that number.
type outcome struct {
	number uint64
	protocol.Outcome
}

// serve handles the stream's frames until it ends.
func (in *inboundStream) serve() error {
	ctx, cancel := context.WithCancel(in.grpc.Context())
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		in.sendAnswers(ctx)
	}()
	err := in.readFrames()
	cancel()
	<-writer
	if r := (*RejectedError)(nil); errors.As(err, &r) {
		in.grpc.Send(&clusterv1.Answer{Rejection: r.toProto()}) // or the other end is gone
	}
	return err
}

func (in *inboundStream) readFrames() error {
	for {
		f, err := in.grpc.Recv()
		if err != nil {
			return err
		}
		if f.Hello != nil && in.hello == nil {
			in.hello = f.Hello
			if in.process, err = in.link.admitProcess(in.grpc.Context(), in.from, processFromHello(f.Hello), f.Hello.Lineage); err != nil {
				in.link.mux.logRefusal(in.remote(), in.from, err)
				return err
			}
			defer in.link.processes.release(in.process)
			if !in.link.inbounds.register(in) {
				return errReplaced
			}
			defer in.link.inbounds.unregister(in)
			in.ifCurrent(in.link.onAddrAnnounced)
			defer in.ifCurrent(in.link.onAddrWithdrawn)
		}
		if err := in.handleFrame(f); err != nil {
			return err
		}
	}
}

func (in *inboundStream) handleFrame(f *clusterv1.Frame) error {
	in.frameMu.Lock()
	defer in.frameMu.Unlock()
	if in.hello == nil {
		return errors.New("the stream's first frame says no hello")
	}
	if in.isReplaced {
		return errReplaced
	}
	for _, m := range f.Message {
		in.passToHandler(m)
	}
	if in.link.members.isMember(in.from) {
		dispatchReports(in.link.config.Handler, f)
		dispatchUsage(in.link.config.Handler, in.from, f)
	}
	if f.Ping {
		in.link.processes.touch(in.process, 0)
		in.setPong(&clusterv1.Pong{
			ClockUs: in.link.clock.now(), Configuration: in.link.members.announced.Load(),
			Incarnation: in.link.config.Member.Incarnation, Lineage: in.link.config.Lineage(), PingUs: f.PingUs, CountsUsage: true,
		})
	}
	return nil
}

// remote returns the address that the stream comes from.
func (in *inboundStream) remote() net.Addr {
	if p, ok := grpcpeer.FromContext(in.grpc.Context()); ok {
		return p.Addr
	}
	return nil
}

// replace stops the stream, and returns when nothing is being delivered any
// more.
func (in *inboundStream) replace() {
	in.frameMu.Lock()
	defer in.frameMu.Unlock()
	in.isReplaced = true
}

// ifCurrent calls tell unless a newer stream has replaced this one.
func (in *inboundStream) ifCurrent(tell func(node string, h *clusterv1.Hello)) {
	in.frameMu.Lock()
	defer in.frameMu.Unlock()
	if !in.isReplaced {
		tell(in.from, in.hello)
	}
}

// passToHandler passes a message to the Handler if its deadline has not passed,
// wherever it was delayed.
func (in *inboundStream) passToHandler(m *clusterv1.Message) {
	message := in.decodeMessage(m)
	switch {
	case !in.link.members.isMember(in.from):
		in.addOutcome(m.Number, protocol.Outcome{Status: protocol.StatusUnavailable, Text: "the sender's node is not part of the site"})
	case !message.Deadline.After(time.Now()):
		in.addOutcome(m.Number, protocol.Outcome{Status: protocol.StatusUnavailable, Text: "it came too late to the recipient's node"})
	default:
		session := store.SessionFromProto(m.Session)
		number := m.Number // m itself is not kept
		in.link.config.Handler.ReceiveMessage(in.from, session, message, func(o protocol.Outcome) { in.addOutcome(number, o) })
	}
}

// decodeMessage trusts the addresses, which the sender's node has parsed.
func (in *inboundStream) decodeMessage(m *clusterv1.Message) *protocol.Message {
	return &protocol.Message{
		From: protocol.CanonicalAddress(m.From), To: protocol.CanonicalAddress(m.To),
		ID: m.Id, Time: time.UnixMicro(m.TimeUs), Entity: m.Entity,
		Deadline: in.link.clock.toTime(m.DeadlineUs), Repeatable: m.Repeatable, Trace: m.Trace,
	}
}

// addOutcome queues an outcome for the next answer.
func (in *inboundStream) addOutcome(number uint64, o protocol.Outcome) {
	in.mu.Lock()
	in.outcomes = append(in.outcomes, outcome{number, o})
	in.mu.Unlock()
	in.wake.Notify()
}

// setPong queues a pong for the next answer.
func (in *inboundStream) setPong(pong *clusterv1.Pong) {
	in.mu.Lock()
	in.pong = pong
	in.mu.Unlock()
	in.wake.Notify()
}

// sendAnswers sends queued outcomes and pongs as soon as the stream accepts
// them.
func (in *inboundStream) sendAnswers(ctx context.Context) {
	var spare []outcome
	var a answerBuffer
	for {
		select {
		case <-ctx.Done():
			return
		case <-in.wake:
		}
		in.mu.Lock()
		outcomes, pong := in.outcomes, in.pong
		in.outcomes, in.pong = spare[:0], nil
		in.mu.Unlock()
		if a.send(in.grpc, outcomes, pong) != nil {
			return // the reader finds out as well
		}
		clear(outcomes)
		spare = outcomes
	}
}

// answerBuffer is an Answer whose parts are reused for each one that is sent.
type answerBuffer struct {
	sent     clusterv1.Answer
	outcomes [maxOutcomes]clusterv1.Outcome
}

func (a *answerBuffer) send(to grpc.BidiStreamingServer[clusterv1.Frame, clusterv1.Answer], outcomes []outcome, pong *clusterv1.Pong) error {
	for len(outcomes) > 0 || pong != nil {
		n := min(len(outcomes), maxOutcomes)
		a.sent.Outcome = a.sent.Outcome[:0]
		for i, o := range outcomes[:n] {
			p := &a.outcomes[i]
			p.Number, p.Status, p.Text = o.number, uint32(o.Status), o.Text
			a.sent.Outcome = append(a.sent.Outcome, p)
		}
		a.sent.Pong = pong
		if err := to.Send(&a.sent); err != nil {
			return err
		}
		outcomes, pong = outcomes[n:], nil
	}
	return nil
}

// inboundStreams tracks the newest stream of each node.
type inboundStreams struct {
	mu     sync.Mutex
	newest map[string]*inboundStream
}

// register makes in the stream of its node and replaces the previous one. It
// returns false if the present one is newer.
func (s *inboundStreams) register(in *inboundStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		s.newest = map[string]*inboundStream{}
	}
	if there := s.newest[in.from]; there != nil {
		if there.hello.Incarnation == in.hello.Incarnation && there.hello.Stream > in.hello.Stream {
			return false
		}
		there.replace()
	}
	s.newest[in.from] = in
	return true
}

// unregister stops in, but remembers its number, because an older stream may
// still arrive.
func (s *inboundStreams) unregister(in *inboundStream) {
	in.replace()
}
