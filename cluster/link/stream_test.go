package link

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
	"simpd/protocol"
	"simpd/protocol/wait"
	"simpd/store"
)

// silent takes messages and answers none.
func silent(string, store.Session, *protocol.Message, func(protocol.Outcome)) {}

func TestABrokenStreamLeavesWhatWasHandedOverInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		s.handlers["n2"].deliver = silent
		var o outcomes
		for i := range 10 {
			id := fmt.Sprint("m", i)
			s.links["n1"].SendToNode("n2", session, message(id), o.done(id))
		}
		s.eventually(func() bool { return len(s.handlers["n2"].messages()) == 10 }, "all are handed over")
		before := time.Now()
		s.network.Reset(hostOf(1), hostOf(2))
		s.eventually(func() bool { return o.count(protocol.StatusIndeterminate) == 10 }, "all are in doubt")
		if took := time.Since(before); took > 10*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		s.connected(2)
		s.handlers["n2"].deliver = nil
		s.links["n1"].SendToNode("n2", session, message("later"), o.done("later"))
		s.eventually(func() bool { return o.status("later") == protocol.StatusOK }, "the next one is delivered")
	})
}

func TestADeadNodeIsToldApartAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		var o outcomes
		s.links["n1"].SendToNode("n3", session, message("unknown"), o.done("unknown"))
		if got := o.status("unknown"); got != protocol.StatusUnavailable {
			t.Errorf("to a node that is not known: %d", got)
		}
		before := time.Now()
		s.network.Kill(hostOf(2))
		s.eventually(func() bool { return s.links["n1"].Connectivity("n2").Suspicion == Closed }, "the death is seen")
		if took := time.Since(before); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		before = time.Now()
		s.links["n1"].SendToNode("n2", session, message("dead"), o.done("dead"))
		s.eventually(func() bool { return o.status("dead") == protocol.StatusUnavailable }, "a message to it is answered")
		if took := time.Since(before); took > 20*time.Millisecond {
			t.Errorf("a message to it took %v", took)
		}
		if told := s.handlers["n1"].told(); !slices.Contains(told, "n2 refuses connections") {
			t.Errorf("told %q", told)
		}
	})
}

func TestANodeThatIsBackIsReachedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		s.network.Kill(hostOf(2))
		s.links["n2"].Close()
		<-time.After(time.Minute)
		s.open(s.config(2))
		var o outcomes
		s.links["n1"].SendToNode("n2", session, message("m"), o.done("m"))
		s.eventually(func() bool { return o.status("m") != 0 }, "it is answered")
		if got := o.status("m"); got != protocol.StatusOK {
			t.Errorf("a message to it: %d", got)
		}
	})
}

func TestSilenceIsNoticedAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		before := time.Now()
		s.network.Isolate(hostOf(2))
		s.eventually(func() bool { return s.links["n1"].Connectivity("n2").Suspicion == Silent }, "the silence is noticed")
		if took := time.Since(before); took < 3*time.Second || took > 6*time.Second {
			t.Errorf("it took %v", took)
		}
		since := s.links["n1"].Connectivity("n2").Since
		if since.Before(before.Add(-time.Second)) || since.After(before.Add(time.Second)) {
			t.Errorf("silent since %v after it fell silent", since.Sub(before))
		}
		s.network.Rejoin(hostOf(2))
		s.connected(2)
		told := strings.Join(s.handlers["n1"].told(), ", ")
		if !strings.Contains(told, "n2 is silent, ") || !strings.HasSuffix(told, "up n2") {
			t.Errorf("told %q", told)
		}
	})
}

func TestWhatWaitsForASilentNodeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		s.network.Isolate(hostOf(2))
		var o outcomes
		const sent = 5000
		for i := range sent {
			id := fmt.Sprint("m", i)
			m := message(id)
			m.Deadline, m.Entity = time.Now().Add(time.Minute), make([]byte, 3000)
			s.links["n1"].SendToNode("n2", session, m, o.done(id))
		}
		full := o.count(protocol.StatusUnavailable)
		if full == 0 || full == sent {
			t.Errorf("%d of %d found no room at once", full, sent)
		}
		s.eventually(func() bool { return o.count(protocol.StatusIndeterminate)+o.count(protocol.StatusUnavailable) == sent }, "all end")
		synctest.Wait()
		if n := len(s.handlers["n2"].messages()); n != 0 {
			t.Errorf("%d were handed over", n)
		}
		before := o.count(protocol.StatusUnavailable)
		if before <= full {
			t.Error("what was not sent was not answered 503")
		}
		if o.count(protocol.StatusIndeterminate) == 0 || o.twice {
			t.Error("what was sent was not answered 201, or something twice")
		}
	})
}

func TestMessagesHeldUpPastTheirTimeAreNotHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(2)
		s.network.Cut(hostOf(1), hostOf(2))
		var o outcomes
		short, long := message("short"), message("long")
		short.Deadline = time.Now().Add(time.Second)
		s.links["n1"].SendToNode("n2", session, short, o.done("short"))
		s.links["n1"].SendToNode("n2", session, long, o.done("long"))
		<-time.After(2 * time.Second)
		s.network.Heal(hostOf(1), hostOf(2))
		s.eventually(func() bool { return o.status("long") == protocol.StatusOK }, "the one with time left arrives")
		if got := s.handlers["n2"].messages(); !slices.Equal(got, []string{"long"}) {
			t.Errorf("handed over: %q", got)
		}
		if got := o.status("short"); got != protocol.StatusIndeterminate && got != protocol.StatusUnavailable {
			t.Errorf("the other one: %d", got)
		}
	})
}

func TestAStreamThatWasHeldUpAsItOpenedTellsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.open(s.config(1))
		s.network.Cut(hostOf(1), hostOf(2))
		s.open(s.config(2))
		s.links["n1"].SetConfiguration(configuration(1, 1, 2))
		<-time.After(1500 * time.Millisecond)
		s.network.Heal(hostOf(1), hostOf(2))
		s.connected(2)
		var late time.Duration
		s.handlers["n2"].deliver = func(_ string, _ store.Session, m *protocol.Message, done func(protocol.Outcome)) {
			late = time.Until(m.Deadline) - 10*time.Second
			done(protocol.Outcome{Status: protocol.StatusOK})
		}
		var o outcomes
		s.links["n1"].SendToNode("n2", session, message("m"), o.done("m"))
		s.eventually(func() bool { return o.status("m") == protocol.StatusOK }, "it is delivered")
		if late > 0 {
			t.Errorf("its deadline came %v late", late)
		}
	})
}

func TestAFarClockIsKnownFromBelow(t *testing.T) {
	var f clockOffset
	// The far clock is 1000 ahead; pongs take 50, 10 and 400 to come back.
	for i, delay := range []int64{50, 10, 400} {
		now := int64(100 * (i + 1))
		f.observe(now-delay+1000, now)
	}
	if got := f.toRemote(500); got != 1490 {
		t.Errorf("500 here is %d there, want 1490", got)
	}
	for i := range int64(8) { // the clocks drift: only the newest count
		f.observe(400+i+900-20, 400+i)
	}
	if got := f.toRemote(500); got != 1380 {
		t.Errorf("after a drift 500 here is %d there, want 1380", got)
	}
}

func TestAnOlderStreamHandsNothingOver(t *testing.T) {
	l := &Link{config: Config{Handler: &handler{}}, clock: clock{time.Now()}}
	l.peers = newPeerSet(l)
	l.members = newMembership(l)
	l.members.known = true
	stream := func(incarnation, number uint64) *inboundStream {
		return &inboundStream{link: l, from: "n1", hello: &clusterv1.Hello{Incarnation: incarnation, Stream: number}, wake: wait.NewSignal()}
	}
	old, newer := stream(1, 1), stream(1, 2)
	if !l.inbounds.register(old) || !l.inbounds.register(newer) {
		t.Fatal("a newer stream was turned away")
	}
	frame := &clusterv1.Frame{Message: []*clusterv1.Message{{Number: 1, From: "a@example.com", To: "b@example.com", Id: "x", DeadlineUs: 1e9}}}
	if err := old.handleFrame(frame); err == nil {
		t.Error("the older stream still hands over")
	}
	if err := newer.handleFrame(frame); err != nil || len(l.config.Handler.(*handler).messages()) != 1 {
		t.Errorf("the newer stream does not hand over: %v", err)
	}
	if l.inbounds.register(stream(1, 1)) {
		t.Error("an older stream that comes later takes over")
	}
	if !l.inbounds.register(stream(2, 1)) {
		t.Error("a new process's stream was turned away")
	}
}

func TestFailedLoginsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t).up(3)
		m := message("")
		source := netip.MustParseAddr("192.0.2.1")
		began := time.Now()
		for range 3 {
			s.links["n1"].Failed(protocol.Attempt{Principal: protocol.Principal{User: m.From}, Source: source})
		}
		s.eventually(func() bool {
			return s.handlers["n2"].failures() == "192.0.2.1 alice@example.com 3" &&
				s.handlers["n3"].failures() == "192.0.2.1 alice@example.com 3"
		}, "the others know")
		if took := time.Since(began); took > pingInterval/4 {
			t.Errorf("they know after %v", took)
		}
		if got := s.handlers["n1"].failures(); got != "" {
			t.Errorf("n1 told itself: %q", got)
		}
	})
}
