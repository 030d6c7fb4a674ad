//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
	"simpd/cmd/simpbench/relay"
)

func relayCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "relay",
		Short: "run the yardstick: a minimal relay of frames",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return cli.Failed(serveRelay(c.Context(), listen))
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:7490", "where to listen")
	return c
}

// serveRelay ends with ctx; its connections end with the process.
func serveRelay(ctx context.Context, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- relay.New().Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("relay: %w", err)
	case <-ctx.Done():
	}
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}
