package server

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"simpd/protocol"
	"simpd/protocol/server/internal/netio"
)

// sink is a wire and a conn that takes everything and costs nothing.
type sink struct{ octets atomic.Uint64 }

func (w *sink) Write(b []byte) (int, bool, error) {
	w.octets.Add(uint64(len(b)))
	return len(b), true, nil
}

func (w *sink) Read() ([]byte, bool, error)     { select {} }
func (w *sink) WaitWritable() error             { return nil }
func (w *sink) IsBlocking() bool                { return false }
func (w *sink) BatchSize() int                  { return 4 * netio.BufferSize }
func (w *sink) SentOctets() uint64              { return w.octets.Load() }
func (w *sink) CloseWrite() error               { return nil }
func (w *sink) SetReadDeadline(time.Time) error { return nil }
func (w *sink) Close() error                    { return nil }

// straight is a user at a site that hands every message to one session.
type straight struct {
	User
	to *session
}

func (u *straight) Send(r *protocol.SendRequest) {
	m := &protocol.Message{To: r.To[0], ID: r.ID, Time: r.Received, Entity: r.Entity, Deadline: r.Deadline()}
	u.to.Deliver(m, func(o protocol.Outcome) { r.Done(0, o) })
}

// benchPair is two sessions of which the one sends to the other.
func benchPair(s *Server) (alice, bob *session) {
	open := func() *session {
		w := &sink{}
		x := s.newSession(netio.Stream{Base: w, Transport: w}, netip.AddrPort{}, &connSlot{})
		x.state.setPhase(phaseAuthenticated)
		x.user = &straight{}
		return x
	}
	alice, bob = open(), open()
	alice.user.(*straight).to = bob
	bob.in.startListening()
	return alice, bob
}

// processorTime is what this process has used: a figure that other processes
// change less than the time of day.
func processorTime(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}

func (s *Server) benchHeard(x *session, octets []byte) {
	s.network.Cork()
	x.onRead(octets, false, nil)
	s.network.Uncork()
}

// benchHeardAll gives x the octets in as many turns as that takes.
func (s *Server) benchHeardAll(x *session, octets []byte) {
	for octets != nil {
		s.benchHeard(x, octets)
		octets, _, _ = x.decoder.takeDeferred()
	}
}

// BenchmarkPath is what a message costs the server without sockets and
// without a site: read, handed over, written, acknowledged and answered, so
// many at a time, among a hundred pairs.
func BenchmarkPath(b *testing.B) {
	for _, window := range []int{1, 64} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) { benchPath(b, window) })
	}
}

func benchPath(b *testing.B, window int) {
	s, err := New(Config{Backend: newSite(b), Domains: []string{"example.com"}, Insecure: true, Logger: silent()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	type pair struct{ alice, bob *session }
	pairs := make([]pair, 100)
	for i := range pairs {
		pairs[i].alice, pairs[i].bob = benchPair(s)
	}
	request := []byte(strings.Repeat("1 SEND to=bob@example.com {100}\r\n"+strings.Repeat("x", 100), window))
	var answers []byte
	b.ReportAllocs()
	b.ResetTimer()
	began := processorTime(b)
	for n := 0; n < b.N; n += window {
		p := pairs[n/window%len(pairs)]
		s.benchHeardAll(p.alice, request)
		answers = answers[:0]
		first := p.bob.in.number - uint64(window)
		for i := range window {
			answers = append(strconv.AppendUint(append(answers, 'm'), first+uint64(i)+1, 10), " 200\r\n"...)
		}
		s.benchHeardAll(p.bob, answers)
	}
	b.StopTimer()
	b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
	for _, p := range pairs {
		if n := p.alice.inflight.requests; n != 0 {
			b.Fatalf("%d requests are not answered", n)
		}
		s.timers.Cancel(&p.alice.timer)
		s.timers.Cancel(&p.bob.timer)
	}
}
