//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/host"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

type tableFlags struct{ bindings []int }

func tableCommand(s *settings) *cobra.Command {
	var f tableFlags
	c := command(s, "table", "bindings put straight into the table, without servers: memory, look-ups, snapshot, restore, the end of a node",
		func() ([]row, error) { return []row{f.row()}, f.check() })
	c.Flags().IntSliceVar(&f.bindings, "bindings", []int{1000, 100_000, 1_000_000}, "sizes of the table")
	return c
}

func (f *tableFlags) check() error {
	for _, n := range f.bindings {
		if err := between("--bindings", n, 100, 5_000_000); err != nil {
			return err
		}
	}
	return nil
}

func (f *tableFlags) row() row {
	return row{name: "table", stages: []stage{{nodes: inProcess}}, play: f.play}
}

// play has all processors: Apply and the writing of a snapshot go side by side.
func (f *tableFlags) play(ctx context.Context, r *round) error {
	if err := host.Pin(slices.Concat(r.servers, r.clients)); err != nil {
		return err
	}
	for _, n := range f.bindings {
		t := tableRound{round: r, n: n}
		for _, step := range []func() error{t.fill, t.lookUp, t.snapshot, t.restore, t.nodeDown} {
			if err := errors.Join(ctx.Err(), step()); err != nil {
				return fmt.Errorf("%d bindings: %w", n, err)
			}
		}
	}
	return host.Pin(r.clients)
}

// tableRound is one table, from empty to the end of one of its nodes.
type tableRound struct {
	*round
	*filler
	n     int
	saved bytes.Buffer
}

func (t *tableRound) tell(metric, unit string, value float64) {
	t.report(fmt.Sprintf("%s, %d bindings", metric, t.n), unit, value)
}

const tableNodes = 3

func (t *tableRound) fill() (err error) {
	if t.filler, err = newFiller(tableNodes); err != nil {
		return err
	}
	empty := heap()
	if err := t.each(t.n, t.account); err != nil {
		return err
	}
	accounts := heap()
	began := time.Now()
	if err := t.each(t.n, t.bind); err != nil {
		return err
	}
	took := time.Since(began)
	t.tell("memory of an account", "octets", float64(accounts-empty)/float64(t.n))
	t.tell("memory of a binding, with its part of the history", "octets", float64(heap()-accounts)/float64(t.n))
	t.tell("bindings a second", "/s", float64(t.n)/took.Seconds())
	return nil
}

// heap returns the octets that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first made free by finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// lookUp tells the processor time of what a SEND asks of the table, for users
// all over it. The addresses asked for are as many and take as much memory
// whatever the size of the table, so that reading them costs the same.
func (t *tableRound) lookUp() error {
	users := make([]protocol.Address, 1<<14)
	for i := range users {
		users[i] = parsed(i * max(1, t.n/len(users)) % t.n)
	}
	var buf [4]store.Session
	const rounds = 1 << 22
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began, err := host.ThreadCPU()
	if err != nil {
		return err
	}
	for i := range rounds {
		if len(t.table.Routes(buf[:0], users[i%len(users)])) != 1 {
			return errors.New("a user is not found")
		}
	}
	ended, err := host.ThreadCPU()
	t.tell("a look-up", "ns", float64((ended-began).Nanoseconds())/rounds)
	return err
}

// snapshot writes one while changes go on, and compares how long the longest
// entry takes with how long it takes without.
func (t *tableRound) snapshot() error {
	if err := t.busy(nil); err != nil {
		return err
	}
	t.tell("longest entry of 128 changes", "ms", milliseconds(t.longest))
	began := time.Now()
	s := t.table.Snapshot()
	t.tell("pause of a snapshot", "µs", microseconds(time.Since(began)))
	written := make(chan error, 1)
	began = time.Now()
	go func() {
		_, err := s.WriteTo(&t.saved)
		written <- err
	}()
	if err := t.busy(written); err != nil {
		return err
	}
	t.tell("a snapshot is written in", "ms", milliseconds(time.Since(began)))
	t.tell("longest entry of 128 changes beside it", "ms", milliseconds(t.longest))
	t.tell("length of a snapshot, for a binding", "octets", float64(t.saved.Len())/float64(t.n))
	return nil
}

// busy changes states until something comes from end, or, if it is nil, 200
// times, a quarter of the time resting: no site is busier.
func (t *tableRound) busy(end <-chan error) error {
	t.longest = 0
	for i := 0; end != nil || i < 200; i++ {
		changes := make([]*storev1.Change, eachEntry)
		for j := range changes {
			changes[j] = t.away((i*eachEntry+j)%t.n, i*eachEntry/t.n)
		}
		began := time.Now()
		if _, err := t.apply(changes...); err != nil {
			return err
		}
		select {
		case err := <-end:
			return err
		case <-time.After(time.Since(began) / 3):
		}
	}
	return nil
}

func (t *tableRound) restore() error {
	began := time.Now()
	fresh := store.New(store.Config{})
	if err := fresh.Restore(bytes.NewReader(t.saved.Bytes())); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	t.tell("a restore", "ms", milliseconds(time.Since(began)))
	if _, ok := fresh.Account(parsed(0)); !ok {
		return errors.New("restore: an account is missing")
	}
	t.saved = bytes.Buffer{}
	return nil
}

// nodeDown ends a node that holds a third, and reaps it.
func (t *tableRound) nodeDown() error {
	runtime.GC()
	down := &storev1.NodeDown{Node: nodeID(0), Epoch: t.epochs[0]}
	t.longest = 0
	if _, err := t.apply(&storev1.Change{Kind: &storev1.Change_NodeDown{NodeDown: down}}); err != nil {
		return err
	}
	t.tell("NodeDown of a third", "ms", milliseconds(t.longest))
	return t.reap()
}

// reapLimit is the number of users that a leader reaps at once.
const reapLimit = 128

func (t *tableRound) reap() error {
	t.longest = 0
	began := time.Now()
	for left := true; left; {
		r, err := t.apply(&storev1.Change{Kind: &storev1.Change_Reap{Reap: &storev1.Reap{Node: nodeID(0), Limit: reapLimit}}})
		if err != nil {
			return err
		}
		left = r[0].More
	}
	t.tell("its reap, the longest entry", "ms", milliseconds(t.longest))
	t.tell("its reap, all entries", "ms", milliseconds(time.Since(began)))
	if len(t.table.Routes(nil, parsed(0))) != 0 {
		return errors.New("a user of the node that is down is found")
	}
	return nil
}
