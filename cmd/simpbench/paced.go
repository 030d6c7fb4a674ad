//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/load"
)

// paced sends at a steady rate, however slow the answers are, pair after
// pair, and times each message from its sending to its acknowledgement.
type paced struct {
	*pairs
	loop    *load.Loop
	clients []*load.Client
	every   time.Duration
	next    time.Time // when the next message is to go
	turn    int       // of which pair
	sent    map[message]time.Time
	took    []time.Duration
	late    time.Duration // the latest that a message went
}

// message is one of a client's.
type message struct {
	client *load.Client
	n      uint64
}

// tick sends all that is due. A message that goes late is timed from when it
// was due, so that a standstill is not counted as one slow message only.
func (p *paced) tick() {
	now := time.Now()
	for !p.stopping && !p.next.After(now) {
		c := p.clients[p.turn*2%len(p.clients)]
		p.open++
		from := now
		if now.Sub(p.next) > p.every {
			from = p.next
		}
		p.sent[message{c, c.Send(p.names[c.Number+1], p.body)}] = from
		p.late = max(p.late, now.Sub(p.next))
		p.next = p.next.Add(p.every)
		p.turn++
	}
	if !p.stopping && p.gone == nil {
		p.loop.At(p.next, p.tick)
	}
}

func (p *paced) Result(c *load.Client, n uint64, status int) {
	p.open--
	p.tally.Result(c, n, status)
	m := message{c, n}
	p.took = append(p.took, time.Since(p.sent[m]))
	delete(p.sent, m)
}

type pacedFlags struct {
	pairs, rate, octets int
}

func pacedCommand(s *settings) *cobra.Command {
	var f pacedFlags
	c := command(s, "paced", "a steady rate of messages: how long until a message's acknowledgement is back",
		func() ([]row, error) { return []row{f.row()}, f.check() })
	c.Flags().IntVar(&f.pairs, "pairs", 500, "pairs of a sender and a recipient")
	c.Flags().IntVar(&f.rate, "rate", 1000, "messages a second, of all pairs together")
	c.Flags().IntVar(&f.octets, "octets", 100, "length of a message")
	return c
}

func (f *pacedFlags) check() error {
	if err := between("--rate", f.rate, 1, 100_000); err != nil {
		return err
	}
	return (&pairsFlags{pairs: f.pairs, octets: []int{f.octets}}).check()
}

func (f *pacedFlags) row() row {
	return row{name: "paced", stages: []stage{{}, {nodes: 1}}, users: 2 * f.pairs, play: f.play}
}

func (f *pacedFlags) play(ctx context.Context, r *round) error {
	clients, err := r.login(ctx, 0, 2*f.pairs, firstNode)
	if err != nil {
		return err
	}
	p := &paced{pairs: newPairs(clients, f.octets), loop: r.loop, clients: clients,
		every: time.Second / time.Duration(f.rate), next: time.Now(), sent: map[message]time.Time{}}
	for _, c := range clients {
		c.Events = p
	}
	p.tick()
	if err := r.loop.RunFor(ctx, r.warmup); err != nil {
		return err
	}
	p.took, p.late = nil, 0
	each, _, err := r.cpuPer(ctx, p.answered)
	if err != nil {
		return err
	}
	if err := p.stop(ctx, r.loop); err != nil {
		return err
	}
	f.report(r, p, each)
	return nil
}

func (f *pacedFlags) report(r *round, p *paced, each float64) {
	slices.Sort(p.took)
	at := fmt.Sprintf(" at %d/s", f.rate)
	r.report("p50"+at, "ms", milliseconds(quantile(p.took, 0.50)))
	r.report("p99"+at, "ms", milliseconds(quantile(p.took, 0.99)))
	r.report("longest"+at, "ms", milliseconds(p.took[len(p.took)-1]))
	r.report("CPU a message"+at, "µs", each)
	r.report("sent late by at most"+at, "ms", milliseconds(p.late))
}

// quantile returns the value below which that part of the sorted ones lies.
func quantile(sorted []time.Duration, part float64) time.Duration {
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}
