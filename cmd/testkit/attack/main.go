// Attack is the attack laboratory: it runs a site of three nodes with little
// memory each, has honest users work on it, and attacks it in all ways at once
// that strangers, users, other sites, programs and removed nodes have.
//
//	go run ./cmd/testkit/attack -bin bin -length 60s -only pings
//
// It exits 0 only if the honest users were served as before.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"simpd/cmd/internal/cli"
	"simpd/cmd/testkit/isolate"
)

func main() {
	o := options{}
	flag.StringVar(&o.bin, "bin", "bin", "the folder of the programs")
	flag.StringVar(&o.keep, "keep", os.TempDir(), "where what a failure leaves behind is kept")
	flag.DurationVar(&o.length, "length", time.Minute, "how long the attacks last")
	flag.DurationVar(&o.quiet, "quiet", 0, "how long honest users are measured before the attacks, and after them; 0: a tenth of -length, but 20s at least")
	flag.StringVar(&o.only, "only", "", "these attacks only, by name, with commas between; or none")
	flag.IntVar(&o.users, "users", 200, "honest users")
	flag.IntVar(&o.memory, "memory", 512, "what each node may use at most, in MiB")
	flag.BoolVar(&o.each, "each", false, "instead of all attacks at once: one after the other for -length each, after -quiet without any, and print what each costs")
	flag.StringVar(&o.pprof, "pprof", "", "the address, inside each node's network, at which nodes serve profiles, such as 127.0.0.1:6060")
	flag.BoolVar(&o.list, "list", false, "instead: list the attacks")
	flag.StringVar(&o.ground, "attackers", "", "instead: attack what this file describes, until the standard input ends (the laboratory starts this itself)")
	flag.Parse()
	os.Exit(o.main())
}

type options struct {
	bin, keep, only, ground, pprof string
	length, quiet                  time.Duration
	users, memory                  int
	list, each                     bool
}

func (o *options) main() int {
	code, err := o.run()
	if err == nil {
		return code
	}
	fmt.Fprintln(cli.NewEscaper(os.Stderr), err)
	return max(1, code)
}

func (o *options) run() (code int, err error) {
	chosen, err := choose(attacks(), o.only)
	switch {
	case err != nil:
		return 2, err
	case o.list:
		printAttacks(cli.NewEscaper(os.Stdout), chosen)
		return 0, nil
	case o.ground != "":
		return 0, attackFrom(o.ground, chosen)
	}
	if lacks := append(isolate.Missing("ip", "nsenter", "chrt"), missingGroups()...); len(lacks) > 0 {
		return 1, fmt.Errorf("for attacks this machine lacks: %s", strings.Join(lacks, ", "))
	}
	network, code, err := isolate.Enter(isolate.ByNsenter)
	if network == nil {
		return code, err
	}
	return 0, o.attack(network, chosen)
}

func missingGroups() []string {
	if os.Geteuid() != 0 {
		return nil // root is named already, and nothing can be found out
	}
	return isolate.MissingGroups()
}

// attack runs the laboratory from its start to its end.
func (o *options) attack(network *isolate.Network, chosen []attack) (err error) {
	l := &lab{options: *o, network: network, attacks: chosen, groups: isolate.Groups{Nodes: nodes, MiB: o.memory}}
	if l.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	if l.dir, err = os.MkdirTemp(o.keep, "simpd-attack-"); err != nil {
		return err
	}
	debug.SetGCPercent(800) // the honest users' process is small, and a pause of it would be taken for the site's
	defer l.close()
	defer l.guard(l.limit())()
	if o.each {
		err = l.runEach()
	} else {
		err = l.runAll()
	}
	if err != nil {
		return fmt.Errorf("%w\n(see %s)", err, l.dir)
	}
	l.close()
	return os.RemoveAll(l.dir)
}

// runAll attacks in all chosen ways at once, and judges.
func (l *lab) runAll() error {
	r, err := l.run()
	if err != nil {
		return err
	}
	r.print(cli.NewEscaper(os.Stdout))
	return r.judge()
}

// limit returns how long the run may take.
func (l *lab) limit() time.Duration {
	if l.each {
		return setupLimit + time.Duration(len(l.attacks))*(l.length+l.quietTime()+2*stopLimit)
	}
	return setupLimit + l.length
}

// setupLimit limits the time of a run beside its attacks.
const setupLimit = 12 * time.Minute

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
			fmt.Fprintf(cli.NewEscaper(os.Stderr), "the run has not ended within %v (see %s)\n", limit, l.dir)
		}
		l.close()
		os.Exit(1)
	}()
	return func() { close(over) }
}
