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
	"simpd/store"
)

// maxAnswer is how many outcomes go back at once.
const maxAnswer = 256

var errReplaced = errors.New("a newer stream of the same node has taken its place")

// inbound is the receiving end of another node's stream. It hands over each
// message in time or says that it did not; once a newer stream of the same
// node is there it hands over nothing more, so that what was held up on the
// old one can't come after what is new.
type inbound struct {
	link  *Link
	from  string
	hello *clusterv1.Hello
	grpc  grpc.BidiStreamingServer[clusterv1.Frame, clusterv1.Answer]

	process *process // that has opened it; nil before it is let in

	handing sync.Mutex // held while a frame is handed over
	over    bool       // a newer stream is there

	mu       sync.Mutex
	outcomes []outcome
	pong     *clusterv1.Pong
	wake     chan struct{}
}

// outcome is what became of the message of that number.
type outcome struct {
	number uint64
	protocol.Outcome
}

// serve takes the stream's frames until it ends.
func (in *inbound) serve() error {
	ctx, cancel := context.WithCancel(in.grpc.Context())
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		in.answer(ctx)
	}()
	err := in.read()
	cancel()
	<-writer
	if r := (*RejectedError)(nil); errors.As(err, &r) {
		in.grpc.Send(&clusterv1.Answer{Rejection: r.rejection()}) // or the other end is gone
	}
	return err
}

func (in *inbound) read() error {
	for {
		f, err := in.grpc.Recv()
		if err != nil {
			return err
		}
		if f.Hello != nil && in.hello == nil {
			in.hello = f.Hello
			if in.process, err = in.link.admitProcess(in.grpc.Context(), in.from, processOf(f.Hello), f.Hello.Lineage); err != nil {
				in.link.mux.logRefusal(in.remote(), in.from, err)
				return err
			}
			defer in.link.processes.release(in.process)
			if !in.link.inbounds.begin(in) {
				return errReplaced
			}
			defer in.link.inbounds.end(in)
			in.unlessReplaced(in.link.placed)
			defer in.unlessReplaced(in.link.unplaced)
		}
		if err := in.take(f); err != nil {
			return err
		}
	}
}

func (in *inbound) take(f *clusterv1.Frame) error {
	in.handing.Lock()
	defer in.handing.Unlock()
	if in.hello == nil {
		return errors.New("the stream's first frame says no hello")
	}
	if in.over {
		return errReplaced
	}
	for _, m := range f.Message {
		in.hand(m)
	}
	if in.link.members.isMember(in.from) {
		tellLogins(in.link.config.Handler, f)
	}
	if f.Ping {
		in.link.processes.hear(in.process, 0)
		in.ping(&clusterv1.Pong{
			ClockUs: in.link.clock.now(), Configuration: in.link.members.told.Load(),
			Boot: in.link.config.Member.Boot, Lineage: in.link.config.Lineage(), PingUs: f.PingUs,
		})
	}
	return nil
}

// remote is the address that the stream comes from.
func (in *inbound) remote() net.Addr {
	if p, ok := grpcpeer.FromContext(in.grpc.Context()); ok {
		return p.Addr
	}
	return nil
}

// replace returns once nothing is handed over any more.
func (in *inbound) replace() {
	in.handing.Lock()
	defer in.handing.Unlock()
	in.over = true
}

// unlessReplaced tells where the stream's process is, or that it is no more
// known to be there, unless a newer stream has told.
func (in *inbound) unlessReplaced(tell func(node string, h *clusterv1.Hello)) {
	in.handing.Lock()
	defer in.handing.Unlock()
	if !in.over {
		tell(in.from, in.hello)
	}
}

// hand gives a message to the handler if its time has not passed, wherever it
// was held up on its way.
func (in *inbound) hand(m *clusterv1.Message) {
	message, err := in.message(m)
	switch {
	case err != nil:
		in.say(m.Number, protocol.Outcome{Status: protocol.StatusServerError, Text: err.Error()})
	case !in.link.members.isMember(in.from):
		in.say(m.Number, protocol.Outcome{Status: protocol.StatusUnavailable, Text: "the sender's node is not part of the site"})
	case !message.Deadline.After(time.Now()):
		in.say(m.Number, protocol.Outcome{Status: protocol.StatusUnavailable, Text: "it came too late to the recipient's node"})
	default:
		session := store.Session{Node: m.Session.GetNode(), Epoch: m.Session.GetEpoch(), Number: m.Session.GetNumber()}
		number := m.Number // m itself is not kept
		in.link.config.Handler.Deliver(in.from, session, message, func(o protocol.Outcome) { in.say(number, o) })
	}
}

func (in *inbound) message(m *clusterv1.Message) (*protocol.Message, error) {
	from, err := protocol.ParseAddress(m.From)
	if err != nil {
		return nil, err
	}
	to, err := protocol.ParseAddress(m.To)
	if err != nil {
		return nil, err
	}
	return &protocol.Message{
		From: from, To: to, ID: m.Id, Time: time.UnixMicro(m.TimeUs), Entity: m.Entity,
		Deadline: in.link.clock.when(m.DeadlineUs), Repeatable: m.Repeatable, Trace: m.Trace,
	}, nil
}

// say keeps an outcome for the next answer.
func (in *inbound) say(number uint64, o protocol.Outcome) {
	in.mu.Lock()
	in.outcomes = append(in.outcomes, outcome{number, o})
	in.mu.Unlock()
	poke(in.wake)
}

// ping keeps a pong for the next answer.
func (in *inbound) ping(pong *clusterv1.Pong) {
	in.mu.Lock()
	in.pong = pong
	in.mu.Unlock()
	poke(in.wake)
}

// answer sends what was said, as soon as it is said and the stream takes it.
func (in *inbound) answer(ctx context.Context) {
	var spare []outcome
	var a answerFrame
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

// answerFrame is an Answer whose parts are used again for each that is sent.
type answerFrame struct {
	sent     clusterv1.Answer
	outcomes [maxAnswer]clusterv1.Outcome
}

func (a *answerFrame) send(to grpc.BidiStreamingServer[clusterv1.Frame, clusterv1.Answer], outcomes []outcome, pong *clusterv1.Pong) error {
	for len(outcomes) > 0 || pong != nil {
		n := min(len(outcomes), maxAnswer)
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

// inbounds knows the newest stream of each node.
type inbounds struct {
	mu     sync.Mutex
	newest map[string]*inbound
}

// begin makes in the stream of its node and ends the one before; it returns
// false if the one that is there is newer.
func (s *inbounds) begin(in *inbound) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest == nil {
		s.newest = map[string]*inbound{}
	}
	if there := s.newest[in.from]; there != nil {
		if there.hello.Boot == in.hello.Boot && there.hello.Stream > in.hello.Stream {
			return false
		}
		there.replace()
	}
	s.newest[in.from] = in
	return true
}

// end keeps in's number: an older stream may yet come to light.
func (s *inbounds) end(in *inbound) {
	in.replace()
}
