package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"simpd/cmd/internal/cli"
)

// runEach measures what each attack costs by itself: first a time without any,
// then one with it, in turns, so that what else the machine does meets both.
func (l *lab) runEach() error {
	if err := l.start(); err != nil {
		return err
	}
	h := l.startHonest()
	defer h.stop()
	l.phase("warming up", h, warmUp)
	file, err := l.ground.write(l.dir)
	if err != nil {
		return err
	}
	var all []turn
	for _, a := range l.attacks {
		without := l.phase("without", h, l.quietTime())
		if l.attackers, err = startAttackers(file, a.name); err != nil {
			return err
		}
		with := l.phase(a.name, h, l.length)
		all = append(all, turn{a, without, with, l.attackers.stop()[a.name]})
		if died := l.died(); len(died) > 0 {
			return fmt.Errorf("%s: %v", a.name, died)
		}
	}
	printTurns(cli.NewEscaper(os.Stdout), all)
	return judgeTurns(all)
}

// turn is a time without an attack, and one with it.
type turn struct {
	attack        attack
	without, with phase
	counts        counts
}

// judgeTurns fails if an attack was none, or reached what it must not.
func judgeTurns(all []turn) error {
	var wrong []error
	for _, t := range all {
		wrong = append(wrong, t.attack.judge(t.counts, t.with.lasted))
	}
	return errors.Join(wrong...)
}

// printTurns prints for each attack the processors that the nodes used more
// than without it, on average, and how many times as long the p99 was.
func printTurns(w io.Writer, all []turn) {
	fmt.Fprintf(w, "\n%-18s %10s %9s %9s  %s\n", "attack", "tries/s", "of nodes", "attackers", "p99 with, and without")
	for _, t := range all {
		fmt.Fprintf(w, "%-18s %10.0f %9.3f %9.2f ", t.attack.name, float64(t.counts.Tries)/t.with.lasted.Seconds(), t.nodesBusier(), t.with.attackersBusy())
		for _, kind := range slices.Sorted(maps.Keys(t.without.served)) {
			if with := t.with.served[kind]; with != nil && kind != connections {
				fmt.Fprintf(w, " %s %s/%s", kind, short(with.quantile(0.99)), short(t.without.served[kind].quantile(0.99)))
			}
		}
		fmt.Fprintln(w)
	}
}

// nodesBusier returns how many processors all nodes used more during the attack.
func (t *turn) nodesBusier() float64 { return t.with.nodesBusy() - t.without.nodesBusy() }

func (p *phase) nodesBusy() (all float64) {
	for _, n := range p.busy[:min(nodes, len(p.busy))] {
		all += n
	}
	return all
}

func (p *phase) attackersBusy() float64 {
	if len(p.busy) < nodes+2 {
		return 0
	}
	return p.busy[nodes+1]
}
