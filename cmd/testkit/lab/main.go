// Lab is the fault laboratory: it runs a real site with clients of all kinds,
// breaks nodes, network and disks beneath it, and holds everything that the
// clients were told against everything that they received.
//
//	go run ./cmd/testkit/lab -bin bin -seed 1 -rounds 5
//
// It exits 0 only if every promise was kept.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"simpd/cmd/internal/cli"
	"simpd/cmd/testkit/isolate"
	"strings"
	"syscall"
	"time"
)

func main() {
	o := options{}
	flag.StringVar(&o.bin, "bin", "bin", "the folder of the programs")
	flag.StringVar(&o.keep, "keep", os.TempDir(), "where what a failure leaves behind is kept")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().Unix()), "of the first round; each next has the next number")
	flag.IntVar(&o.rounds, "rounds", 3, "how many sites are tried, one after the other")
	flag.DurationVar(&o.length, "length", 40*time.Second, "of the time in which faults come, in each round")
	flag.DurationVar(&o.pause, "pause", 5*time.Millisecond, "of each of the six senders between two messages")
	flag.StringVar(&o.faults, "faults", "process", "process, pauses or clocks (which need no root), network, disk or all")
	flag.StringVar(&o.measure, "measure", "", "instead: deaths (kill -9 and SIGSTOP of each node, and with network faults each cut off) or crowds (clients that do not read, or say nothing)")
	flag.IntVar(&o.memory, "memory", 0, "with crowds: what each node may use at most, in MiB (needs root and control groups); 0: what there is")
	flag.StringVar(&o.history, "history", "", "instead: check again the history.json that a failure has left")
	flag.BoolVar(&o.clocks, "clocks", false, "the nodes' monotonic clocks are days apart; with network faults only")
	flag.BoolVar(&o.insecure, "insecure", false, "no TLS; with process faults only")
	flag.Parse()
	os.Exit(o.main())
}

func (o *options) main() int {
	code, err := o.enter()
	if err == nil && code == 0 {
		return 0
	}
	if err != nil {
		fmt.Fprintln(cli.NewEscaper(os.Stderr), err)
	}
	return max(1, code)
}

// enter sees to it that what the faults need is there.
func (o *options) enter() (code int, err error) {
	switch {
	case o.history != "":
		return 0, recheck(o.history)
	case o.faults != "process" && o.faults != "pauses" && o.faults != "clocks":
	case o.measure != "":
		return 0, o.runMeasure()
	default:
		return 0, o.run()
	}
	if lacks := missing(); len(lacks) > 0 {
		return 1, fmt.Errorf("for %s faults this machine lacks: %s", o.faults, strings.Join(lacks, ", "))
	}
	inner, code, err := isolate.Enter(isolate.ByIP)
	if inner == nil {
		return code, err
	}
	o.net = &network{inner}
	if o.measure != "" {
		return 0, o.runMeasure()
	}
	return 0, o.run()
}

// What a run may take at most, beside the time in which faults come.
const (
	roundLimit   = 3 * time.Minute
	measureLimit = 15 * time.Minute
)

// guard ends all that the run has started, and this process, when a signal
// comes or the time is over.
func (l *lab) guard(limit time.Duration) (done func()) {
	signals, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-over:
			signal.Stop(signals)
			return
		case <-signals:
		case <-time.After(limit):
			fmt.Fprintf(cli.NewEscaper(os.Stderr), "the run with seed %d has not ended within %v (see %s)\n", l.seed, limit, l.dir)
		}
		l.close()
		os.Exit(1)
	}()
	return func() { close(over) }
}

// injectors are the faults that were asked for.
func (o *options) injectors() []injector {
	switch o.faults {
	case "network":
		return networkFaults()
	case "pauses":
		return []injector{{"SIGSTOP of the leader", stopLeader, time.Second, 30 * time.Second, false}}
	case "clocks":
		return clockFaults()
	case "disk":
		return diskFaults()
	case "all":
		return append(append(loopbackFaults(), networkFaults()...), diskFaults()...)
	}
	return loopbackFaults()
}

type options struct {
	bin, keep     string
	seed          uint64
	rounds        int
	length, pause time.Duration
	faults        string
	measure       string
	memory        int
	history       string
	insecure      bool
	clocks        bool
	net           *network
}

func (o *options) run() error {
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return err
	}
	shifted, err := o.buildShifted()
	if err != nil {
		return err
	}
	defer os.RemoveAll(shifted)
	bad, all := 0, newReport(0, "")
	for i := range o.rounds {
		p := plan{seed: o.seed + uint64(i), bin: bin, length: o.length, pause: o.pause, nodes: 3, faults: o.injectors(), net: o.net, insecure: o.insecure, clocks: o.clocks, shifted: shifted}
		if p.dir, err = os.MkdirTemp(o.keep, fmt.Sprintf("simpd-lab-%d-", p.seed)); err != nil {
			return err
		}
		r, err := round(p)
		if err != nil {
			return fmt.Errorf("seed %d: %w (see %s)", p.seed, err, p.dir)
		}
		r.print(cli.NewEscaper(os.Stdout))
		all.add(r)
		if len(r.wrong) > 0 {
			bad++
		}
	}
	all.sum(cli.NewEscaper(os.Stdout), o.rounds)
	if bad > 0 {
		return fmt.Errorf("%d of %d rounds broke a promise", bad, o.rounds)
	}
	return nil
}

// runMeasure measures what was asked for at one site.
func (o *options) runMeasure() (err error) {
	p := plan{seed: o.seed, nodes: 3, net: o.net, insecure: o.insecure, groups: isolate.Groups{Nodes: 3, MiB: o.memory}}
	if p.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp(o.keep, "simpd-lab-"); err != nil {
		return err
	}
	l := newLab(p)
	defer l.close()
	defer l.guard(measureLimit)()
	if err = l.start(); err == nil && o.measure == "deaths" {
		err = measureDeaths(l, o.rounds, cli.NewEscaper(os.Stdout))
	} else if err == nil {
		err = measureCrowds(l, cli.NewEscaper(os.Stdout))
	}
	if err != nil {
		return fmt.Errorf("%w (see %s)", err, p.dir)
	}
	l.close()
	return os.RemoveAll(p.dir)
}

// round is one site from its start to its end.
func round(p plan) (*report, error) {
	l := newLab(p)
	defer l.close()
	defer l.guard(p.length + roundLimit)()
	if err := l.start(); err != nil {
		return nil, err
	}
	return l.run()
}
