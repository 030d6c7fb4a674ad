//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/load"
)

// pairs is a closed loop: in each pair one sends, the other acknowledges, and
// once the acknowledgement is back the next message goes. Even users send to
// the odd ones after them.
type pairs struct {
	tally
	body     []byte
	stopping bool
	open     int // messages under way
	received int
	names    []string // by number
}

func newPairs(clients []*load.Client, octets int) *pairs {
	p := &pairs{tally: newTally(), body: bytes.Repeat([]byte("x"), octets), names: make([]string, len(clients))}
	for i, c := range clients {
		p.names[i], c.Number, c.Events = c.Name, i, p
	}
	return p
}

func (p *pairs) start(clients []*load.Client) {
	for i := 0; i+1 < len(clients); i += 2 {
		p.send(clients[i])
	}
}

func (p *pairs) send(c *load.Client) {
	p.open++
	c.Send(p.names[c.Number+1], p.body)
}

func (p *pairs) Result(c *load.Client, n uint64, status int) {
	p.open--
	p.tally.Result(c, n, status)
	if !p.stopping && p.gone == nil {
		p.send(c)
	}
}

func (p *pairs) Message(*load.Client, []byte) { p.received++ }

// stop lets no message go any more, and waits for the answers to the last.
func (p *pairs) stop(ctx context.Context, loop *load.Loop) error {
	p.stopping = true
	if err := loop.Run(ctx, drainTimeout, func() bool { return p.open == 0 || p.gone != nil }); err != nil {
		return fmt.Errorf("%d messages are unanswered: %w", p.open, err)
	}
	return p.err()
}

// drainTimeout is longer than a message's own.
const drainTimeout = 12 * time.Second

// traffic measures a closed loop among the clients.
func (r *round) traffic(ctx context.Context, clients []*load.Client, octets int) (each, rate float64, err error) {
	p := newPairs(clients, octets)
	p.start(clients)
	each, rate, err = r.cpuPer(ctx, p.answered)
	if err == nil {
		err = p.stop(ctx, r.loop)
	}
	return each, rate, err
}

type pairsFlags struct {
	pairs  int
	octets []int
	sign   bool
}

func (f *pairsFlags) add(c *cobra.Command) *cobra.Command {
	c.Flags().IntVar(&f.pairs, "pairs", 500, "pairs of a sender and a recipient")
	c.Flags().IntSliceVar(&f.octets, "octets", []int{100, 1024}, "lengths of a message")
	c.Flags().BoolVar(&f.sign, "sign", false, "measure signed messages too, whose recipients ask for the sender's keys (simpd only)")
	return c
}

func (f *pairsFlags) check() error {
	for _, n := range f.octets {
		if n < 1 || n > 60_000 {
			return fmt.Errorf("--octets: %d is not 1 to 60000", n)
		}
	}
	return between("--pairs", f.pairs, 1, 8000)
}

func between(flag string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%s: %d is not %d to %d", flag, n, least, most)
	}
	return nil
}

func pairsCommand(s *settings) *cobra.Command {
	var f pairsFlags
	return f.add(command(s, "pairs", "pairs of clients in a closed loop: processor time for a message",
		func() ([]row, error) { return []row{f.row()}, f.check() }))
}

func (f *pairsFlags) row() row {
	return row{name: "pairs", stages: []stage{{}, {nodes: 1}}, users: 2 * f.pairs, play: f.play(firstNode)}
}

func acrossCommand(s *settings) *cobra.Command {
	var f pairsFlags
	return f.add(command(s, "across", "pairs whose two ends are on two of three nodes: processor time of all three",
		func() ([]row, error) { return []row{f.across()}, f.check() }))
}

// across has senders on the first node and recipients on the second.
func (f *pairsFlags) across() row {
	return row{name: "across", stages: []stage{{}, {nodes: 3}}, users: 2 * f.pairs,
		play: f.play(func(user int) int { return user % 2 })}
}

func (f *pairsFlags) play(at func(user int) int) func(context.Context, *round) error {
	return func(ctx context.Context, r *round) error {
		clients, err := r.login(ctx, 0, 2*f.pairs, at)
		if err != nil {
			return err
		}
		if err := f.measure(ctx, r, clients, "message"); err != nil || !f.sign || r.subject.name == relayName {
			return err
		}
		if err := r.startSigning(ctx, clients); err != nil {
			return err
		}
		return f.measure(ctx, r, clients, "signed message")
	}
}

// measure measures messages of all lengths.
func (f *pairsFlags) measure(ctx context.Context, r *round, clients []*load.Client, kind string) error {
	for _, octets := range f.octets {
		each, rate, err := r.traffic(ctx, clients, octets)
		if err != nil {
			return err
		}
		r.report(fmt.Sprintf("CPU a %s, %d octets", kind, octets), "µs", each)
		r.report(fmt.Sprintf("%ss a second, %d octets", kind, octets), "/s", rate)
	}
	return nil
}

// startSigning has all clients make a key and sign from now on.
func (r *round) startSigning(ctx context.Context, clients []*load.Client) error {
	k := &keysAdded{tally: newTally()}
	for _, c := range clients {
		c.Events = k
		if err := c.StartSigning(); err != nil {
			return err
		}
	}
	if err := r.loop.Run(ctx, loginTimeout, func() bool { return k.added == len(clients) || k.err() != nil }); err != nil {
		return fmt.Errorf("%d of %d keys were added: %w", k.added, len(clients), err)
	}
	return k.err()
}

// keysAdded counts the keys that were added.
type keysAdded struct {
	tally
	added int
}

func (k *keysAdded) Done(c *load.Client, status int) {
	k.added++
	if status != 200 {
		k.Gone(c, fmt.Errorf("KEY add was answered %d", status))
	}
}
