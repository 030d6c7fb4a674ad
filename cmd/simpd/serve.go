package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/protocol/loglimit"
)

func serveCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve [--config FILE]",
		Short: "run a node of a site",
		Long: "Runs a node of a site. Every flag except --config is also a key of the\n" +
			"configuration file (--simp-listen is simp_listen) and an environment variable\n" +
			"(SIMPD_SIMP_LISTEN). A flag overrides a variable, and a variable overrides the\n" +
			"file. SIGTERM drains the node and ends it; a second SIGTERM ends it at once.\n" +
			"SIGHUP makes it read certificates, keys, tokens, account sources, the log level,\n" +
			"the drain timeout, the limits of users and the rules for other sites again; the\n" +
			"log names each other changed setting, which takes effect at the next start.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			read := func() (*config, error) {
				conf, wrong := loadConfig(file, os.LookupEnv, c.Flags())
				if len(wrong) > 0 {
					return nil, wrong
				}
				return conf, nil
			}
			return runServe(read)
		},
	}
	c.Flags().StringVar(&file, "config", os.Getenv("SIMPD_CONFIG"), "the configuration file")
	addFlags(c.Flags())
	return c
}

// runServe runs a node until a signal ends it. read reads the configuration, now
// and at each SIGHUP.
func runServe(read func() (*config, error)) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)
	defer easeCollector().stop()

	s := service{read: read}
	came, err := startUntil(signals, s.startNode)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	defer loglimit.Flush(s.logger)
	s.systemd.running()
	if came.stop {
		return s.shutDown(signals)
	}
	if came.hangup {
		s.reloadConfig()
	}
	s.node.serving.Go(func() { giveBack(s.node.ctx) })
	return s.awaitEnd(signals)
}

// startSignals are the signals that came during a start.
type startSignals struct {
	hangup bool // SIGHUP
	stop   bool // one that ends the process, although the start succeeded
}

// startUntil calls start, and ends its context at the first signal that is to
// end the process. It does not wait for start after a second one.
func startUntil(signals <-chan os.Signal, start func(context.Context) error) (came startSignals, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- start(ctx) }()
	for {
		select {
		case err := <-ended:
			came.stop = err == nil && ctx.Err() != nil
			return came, err
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				came.hangup = true
			case ctx.Err() != nil:
				return came, cli.Failed(errAtOnce)
			default:
				cancel()
			}
		}
	}
}

var errAtOnce = errors.New("a second signal: ended at once")

// service is a running node and what signals do to it.
type service struct {
	node   *node
	conf   *config // as it was started
	read   func() (*config, error)
	level  *slog.LevelVar
	logger *slog.Logger

	systemd supervisor
}

// startNode reads the configuration and starts the node.
func (s *service) startNode(ctx context.Context) (err error) {
	if s.conf, err = s.readConfig(ctx); err != nil {
		return err
	}
	limitMemory(groupLimit)
	s.level = new(slog.LevelVar)
	s.level.Set(logLevel(s.conf.logLevel))
	s.logger = newLogger(os.Stderr, s.conf.logFormat, s.level)
	s.systemd = supervisor{s.logger}
	s.node, err = startNode(ctx, s.conf, s.logger, s.systemd.waiting)
	return err
}

// readConfig reads the configuration. At the end of ctx it returns at once: a
// file that is a pipe, or on another machine, may block a read for ever.
func (s *service) readConfig(ctx context.Context) (*config, error) {
	type result struct {
		conf *config
		err  error
	}
	read := make(chan result, 1)
	go func() {
		conf, err := s.read()
		read <- result{conf, err}
	}()
	select {
	case r := <-read:
		return r.conf, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// awaitEnd waits for what ends the node: a signal, or a fault of its own.
func (s *service) awaitEnd(signals <-chan os.Signal) error {
	for {
		select {
		case err := <-s.node.Broken():
			return cli.Failed(err) // at once: what else the node would do may hang
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return s.shutDown(signals)
			}
			s.reloadConfig()
		}
	}
}

// shutDown ends the node in good order, or at once at a second signal.
func (s *service) shutDown(signals <-chan os.Signal) error {
	s.systemd.stopping()
	ctx, cancel := context.WithTimeout(context.Background(), s.node.drainTimeout())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.node.Stop(ctx)
	}()
	for {
		select {
		case <-done:
			return nil
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				continue
			}
			return cli.Failed(errAtOnce)
		}
	}
}
