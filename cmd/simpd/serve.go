package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "serve [--config FILE]",
		Short: "run a node of a site",
		Long: "Runs a node of a site. Every flag but --config is also a key of the\n" +
			"configuration file (--simp-listen is simp_listen) and an environment variable\n" +
			"(SIMPD_SIMP_LISTEN). A flag counts more than a variable, and that more than\n" +
			"the file. SIGTERM drains and ends, a second one ends at once; SIGHUP reads\n" +
			"certificates, keys, tokens, the log level, the drain timeout and the rules for\n" +
			"other sites again, and names each changed setting that counts from the next\n" +
			"start on.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			read := func() (*config, error) {
				conf, wrong := load(file, os.LookupEnv, c.Flags())
				if len(wrong) > 0 {
					return nil, wrong
				}
				return conf, nil
			}
			return serve(read)
		},
	}
	c.Flags().StringVar(&file, "config", os.Getenv("SIMPD_CONFIG"), "the configuration file")
	addFlags(c.Flags())
	return c
}

// serve runs a node until a signal ends it. read reads the configuration, now
// and at each SIGHUP.
func serve(read func() (*config, error)) error {
	conf, err := read()
	if err != nil {
		return err
	}
	limitMemory(groupLimit)
	defer easeCollector().stop()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)

	level := new(slog.LevelVar)
	level.Set(logLevel(conf.logLevel))
	logger := newLogger(os.Stderr, conf.logFormat, level)
	n, err := startNode(conf, logger)
	if err != nil {
		return err
	}
	n.serving.Go(func() { giveBack(n.ctx) })
	s := service{node: n, conf: conf, read: read, level: level, logger: logger, systemd: supervisor{logger}}
	s.systemd.ready()
	return s.run(signals)
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

// run waits for what ends the node: a signal, or a fault of its own.
func (s *service) run(signals <-chan os.Signal) error {
	for {
		select {
		case err := <-s.node.Broken():
			return failed(err) // at once: what else the node would do may hang
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				return s.drain(signals)
			}
			s.reload()
		}
	}
}

// drain ends the node in good order, or at once at a second signal.
func (s *service) drain(signals <-chan os.Signal) error {
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
			return failed(errAtOnce)
		}
	}
}
