package main

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/wait"
)

// slowConsumers: who follows the presence of all, and does not read.
func slowConsumers() attack {
	return attack{
		name: "slow-consumers", actor: program, least: 0.2,
		does:  "50 calls of Watch by a program with credentials are never read",
		harms: "fill the memory with old states of the table",
		run: func(ctx context.Context, g *ground, t *tally) error {
			certificate, err := tls.LoadX509KeyPair(filepath.Join(g.Keys, "service-operator.crt"), filepath.Join(g.Keys, "service-operator.key"))
			if err != nil {
				return err
			}
			config := anyServer()
			config.Certificates = []tls.Certificate{certificate}
			return crew(ctx, t, 50, 2*time.Second, func(ctx context.Context, i int) error { return g.watchSlowly(ctx, t, i, config) })
		},
	}
}

// watchSlowly begins to follow, and reads once in ten seconds.
func (g *ground) watchSlowly(ctx context.Context, t *tally, i int, config *tls.Config) error {
	dialer := &net.Dialer{Timeout: dialTimeout, LocalAddr: attackSource(240 + i%5)}
	c, err := grpc.NewClient("passthrough:///"+g.node(i).GRPC, grpc.WithTransportCredentials(credentials.NewTLS(config)), grpc.WithInitialWindowSize(64<<10),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", to) }))
	if err != nil {
		return err
	}
	defer c.Close()
	stream, err := simpv1.NewPresenceServiceClient(c).Watch(ctx, &simpv1.WatchRequest{})
	if err != nil {
		return err
	}
	for {
		t.add(1)
		if _, err := stream.Recv(); err != nil {
			return err
		}
		t.tell("response")
		if !wait.Sleep(ctx, 10*time.Second) {
			return nil
		}
	}
}
