package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/wait"
)

// consumer follows all presence as a program does. When its node fails, or it
// has had enough of it, it goes on at another.
type consumer struct {
	*lab
	r      *rand.Rand
	number int
	steady time.Duration // how long it stays at one node, at most; 0: as long as that lasts
	after  *simpv1.Position
}

func (c *consumer) run(ctx context.Context) {
	for ctx.Err() == nil {
		node := 1 + c.r.IntN(len(c.site.Nodes))
		_ = c.follow(ctx, node) // it ends in an error: that of the node, or of ctx
		wait.Sleep(ctx, time.Duration(50+c.r.IntN(200))*time.Millisecond)
	}
}

func (c *consumer) follow(ctx context.Context, node int) error {
	if c.steady > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.steady)
		defer cancel()
	}
	conn, err := c.programs(node)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := simpv1.NewPresenceServiceClient(conn).Watch(ctx, &simpv1.WatchRequest{After: c.after})
	if err != nil {
		return err
	}
	silent := time.AfterFunc(15*time.Second, cancel) // there is progress every 10 s
	defer silent.Stop()
	synced := c.after != nil
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		silent.Reset(15 * time.Second)
		synced = c.take(r, node, synced)
	}
}

// take notes what was told, and the position from which to go on.
func (c *consumer) take(r *simpv1.WatchResponse, node int, synced bool) bool {
	t := told{Index: r.GetPosition().GetIndex(), History: r.GetPosition().GetHistory(), Node: node, At: c.clock.Now()}
	switch e := r.Event.(type) {
	case *simpv1.WatchResponse_Presence:
		t.Kind = "change"
		if !synced {
			t.Kind = "present"
		}
		t.IMA, t.State, t.Note = e.Presence.Ima, stateName(e.Presence.State), e.Presence.Note
		t.Sessions = sessionNames(e.Presence)
	case *simpv1.WatchResponse_Synced:
		t.Kind, synced = "synced", true
	case *simpv1.WatchResponse_Reset_:
		t.Kind, synced, t.Note = "reset", false, e.Reset_.Reason
		c.after = nil
	default:
		t.Kind = "progress"
	}
	if synced && r.Position != nil {
		c.after = r.Position
	}
	c.history.locked(func() { c.history.Told[c.number] = append(c.history.Told[c.number], t) })
	return synced
}

func stateName(s simpv1.State) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}

func sessionNames(p *simpv1.Presence) string {
	var b strings.Builder
	for _, s := range p.Session {
		fmt.Fprintf(&b, "%s=%s/%s ", s.Id, stateName(s.State), s.Note)
	}
	return b.String()
}

// programs opens a connection for programs to a node.
func (l *lab) programs(node int) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if !l.site.Insecure {
		own, err := tls.LoadX509KeyPair(l.site.Key("service-operator.crt"), l.site.Key("service-operator.key"))
		if err != nil {
			return nil, err
		}
		roots, err := readRoots(l.site.Key("ca.crt"))
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}, ServerName: "localhost"})
	}
	return grpc.NewClient("passthrough:///"+l.site.Nodes[node-1].GRPC, grpc.WithTransportCredentials(creds), grpc.WithDisableServiceConfig())
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return roots, nil
}
