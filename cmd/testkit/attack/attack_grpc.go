package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/wait"
)

// anyServer takes whoever answers: attackers do not care.
func anyServer() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

// callBodies: a call's body is read before its caller is known.
func callBodies() attack {
	return attack{
		name: "call-bodies", actor: program, least: 2,
		does:  "10 connections without credentials each keep 100 calls of 1 MiB unfinished",
		harms: "fill the memory, or never be ended",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 1000, 5*time.Second, func(ctx context.Context, i int) error { return unfinished(ctx, g, t, i) })
		},
	}
}

// unfinished makes a call of which the last octet never comes. Ten connections
// carry all of them.
func unfinished(ctx context.Context, g *ground, t *tally, i int) error {
	from, at := attackSource(180), g.node(i%10)
	client := g.clients.of(i%10, func() *http.Client {
		return &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: true, TLSClientConfig: anyServer(), MaxConnsPerHost: 1,
			DialContext: (&net.Dialer{Timeout: dialTimeout, LocalAddr: from}).DialContext,
		}}
	})
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	head := binary.BigEndian.AppendUint32([]byte{0}, 1<<20)
	body := io.MultiReader(bytes.NewReader(head), bytes.NewReader(make([]byte, 1<<20-1)), until(ctx))
	call, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+at.GRPC+"/simp.v1.MessageService/Send", body)
	if err != nil {
		return err
	}
	call.Header.Set("Content-Type", "application/grpc")
	call.Header.Set("TE", "trailers")
	t.add(1)
	answer, err := client.Do(call)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	t.tell("answered " + answer.Header.Get("Grpc-Status") + answer.Trailer.Get("Grpc-Status"))
	return nil
}

// until is a body that has nothing, until ctx ends.
func until(ctx context.Context) io.Reader { return waiter{ctx} }

type waiter struct{ ctx context.Context }

func (w waiter) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// call opens a connection for calls, without credentials.
func (g *ground) call(i int, to string) (*grpc.ClientConn, error) {
	from := attackSource(181 + i%10)
	return grpc.NewClient("passthrough:///"+to, grpc.WithTransportCredentials(credentials.NewTLS(anyServer())),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
			return (&net.Dialer{Timeout: dialTimeout, LocalAddr: from}).DialContext(ctx, "tcp", to)
		}))
}

// healthWatches: a watch of the health that anyone may have.
func healthWatches() attack {
	return attack{
		name: "health-watches", actor: program, least: 1,
		does:  "30 connections without credentials keep 1,000 Health watches each",
		harms: "fill the memory",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 30, 5*time.Second, func(ctx context.Context, i int) error {
				c, err := g.call(i, g.node(i).GRPC)
				if err != nil {
					return err
				}
				defer c.Close()
				return watchHealth(ctx, healthv1.NewHealthClient(c), t)
			})
		},
	}
}

// watchHealth opens watches until one is refused, at most 1,000, and keeps
// them for ten seconds.
func watchHealth(ctx context.Context, c healthv1.HealthClient, t *tally) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for range 1000 {
		t.add(1)
		w, err := c.Watch(ctx, &healthv1.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		t.tell(status.Code(err).String())
		if err != nil {
			return err
		}
	}
	wait.Sleep(ctx, 10*time.Second)
	return nil
}

// refusedCalls: each refusal leaves an audit record.
func refusedCalls() attack {
	return attack{
		name: "refused-calls", actor: program, least: 1, never: []string{"OK"},
		does:  "4 connections without credentials make 400 calls a second",
		harms: "fill the log, or keep others waiting",
		run: func(ctx context.Context, g *ground, t *tally) error {
			return crew(ctx, t, 4, time.Second, func(ctx context.Context, i int) error {
				c, err := g.call(i, g.node(i).GRPC)
				if err != nil {
					return err
				}
				defer c.Close()
				accounts := simpv1.NewAccountServiceClient(c)
				return every(ctx, 100, func() error {
					limited, cancel := context.WithTimeout(ctx, 5*time.Second)
					defer cancel()
					t.add(1)
					_, err := accounts.Delete(limited, &simpv1.DeleteAccountRequest{Ima: g.address(honestUser(0))})
					t.tell(status.Code(err).String())
					return nil
				})
			})
		},
	}
}
