package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"simpd/cmd/testkit/site"
	simpv1 "simpd/proto/simp/v1"
)

// services are a node's services for programs, as one of them calls them.
type services struct {
	presence simpv1.PresenceServiceClient
	accounts simpv1.AccountServiceClient
	cluster  simpv1.ClusterServiceClient
}

// call reaches a node's services with the operator's certificate or, if it is
// not empty, a token. The connection is new, and open till the test's end.
func call(t *testing.T, s *site.Site, n *site.Node, token string) *services {
	t.Helper()
	config := &tls.Config{RootCAs: rootsOf(t, s.Key("ca.crt")), ServerName: "localhost"}
	options := []grpc.DialOption{grpc.WithDisableServiceConfig()}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(token)))
	} else {
		own, err := tls.LoadX509KeyPair(s.Key("service-operator.crt"), s.Key("service-operator.key"))
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	conn, err := grpc.NewClient("passthrough:///"+n.GRPC, append(options, grpc.WithTransportCredentials(credentials.NewTLS(config)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &services{simpv1.NewPresenceServiceClient(conn), simpv1.NewAccountServiceClient(conn), simpv1.NewClusterServiceClient(conn)}
}

func rootsOf(t *testing.T, file string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots
}

// bearer is a token that goes with each call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (b bearer) RequireTransportSecurity() bool { return true }

// soon is a context for one call.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// viewer is a consumer of Watch that stays at one node, and remembers all.
type viewer struct {
	mu     sync.Mutex
	events []string // reset, synced, progress, or the address and its state
	at     *simpv1.Position
	err    error
}

// follow begins to watch the whole site at a node.
func follow(t *testing.T, s *services, after *simpv1.Position) *viewer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := s.presence.Watch(ctx, &simpv1.WatchRequest{After: after})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	v, ended := &viewer{}, make(chan struct{})
	t.Cleanup(func() { cancel(); receive(t, "a watch ends", ended) })
	go func() {
		defer close(ended)
		for v.take(stream.Recv()) {
		}
	}()
	return v
}

func (v *viewer) take(r *simpv1.WatchResponse, err error) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err = err; err != nil {
		return false
	}
	if r.Position != nil {
		v.at = r.Position
	}
	switch e := r.Event.(type) {
	case *simpv1.WatchResponse_Presence:
		v.events = append(v.events, fmt.Sprint(e.Presence.Ima, " ", stateName(e.Presence.State)))
	case *simpv1.WatchResponse_Reset_:
		v.events = append(v.events, "reset: "+e.Reset_.Reason)
	case *simpv1.WatchResponse_Synced:
		v.events = append(v.events, "synced")
	}
	return true
}

// has reports whether an event has come, and how often.
func (v *viewer) has(event string) (times int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, e := range v.events {
		if e == event {
			times++
		}
	}
	return times
}

func (v *viewer) first() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.events) == 0 {
		return ""
	}
	return v.events[0]
}

// failure is why the watch has ended; nil: it goes on.
func (v *viewer) failure() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

func (v *viewer) position() *simpv1.Position {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.at
}

// pacing calls f again and again, this far apart, until stop is called.
func pacing(every time.Duration, f func(i int)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for i := 0; ; i++ {
			f(i)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); work.Wait() }
}
