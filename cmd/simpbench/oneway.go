//go:build linux

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/load"
)

// oneway keeps so many messages of each pair under way. The relay's want no
// acknowledgement, and are done as they arrive; SIMP's are done when their
// senders have been told.
type oneway struct {
	*pairs
	clients []*load.Client
	window  int
	silent  bool
}

// top sends what is missing to a full window, which the loop writes at once.
func (o *oneway) top(c *load.Client) {
	if !o.stopping && o.gone == nil {
		o.send(c)
	}
}

func (o *oneway) Message(c *load.Client, _ []byte) {
	o.received++
	if o.silent {
		o.open--
		o.answers[200]++
		o.top(o.clients[c.Number-1])
	}
}

func (o *oneway) start() {
	for i, c := range o.clients {
		c.Events = o
		for n := 0; i%2 == 0 && n < o.window; n++ {
			o.send(c)
		}
	}
}

type onewayFlags struct {
	pairs, window, octets int
}

func onewayCommand(s *settings) *cobra.Command {
	var f onewayFlags
	c := command(s, "oneway", "messages one way, pipelined: processor time for each",
		func() ([]row, error) { return []row{f.row()}, f.check() })
	c.Flags().IntVar(&f.pairs, "pairs", 100, "pairs of a sender and a recipient")
	c.Flags().IntVar(&f.window, "window", 64, "messages under way in each pair")
	c.Flags().IntVar(&f.octets, "octets", 100, "length of a message")
	return c
}

func (f *onewayFlags) check() error {
	if err := between("--window", f.window, 1, 1000); err != nil {
		return err
	}
	return (&pairsFlags{pairs: f.pairs, octets: []int{f.octets}}).check()
}

func (f *onewayFlags) row() row {
	return row{name: "oneway", stages: []stage{{oneway: true}, {nodes: 1}}, users: 2 * f.pairs, play: f.play}
}

func (f *onewayFlags) play(ctx context.Context, r *round) error {
	clients, err := r.login(ctx, 0, 2*f.pairs, firstNode)
	if err != nil {
		return err
	}
	o := &oneway{pairs: newPairs(clients, f.octets), clients: clients, window: f.window, silent: r.subject.name == relayName}
	o.start()
	each, rate, err := r.cpuPer(ctx, o.answered)
	if err != nil {
		return err
	}
	r.report(fmt.Sprintf("CPU a message, %d octets", f.octets), "µs", each)
	r.report(fmt.Sprintf("messages a second, %d octets", f.octets), "/s", rate)
	return o.stop(ctx, r.loop)
}
