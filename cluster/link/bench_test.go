package link

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/store"
)

// loopback opens two links on sockets of this machine.
func loopback(b *testing.B) (from *Link) {
	b.Helper()
	var join string
	var links []*Link
	for i := 1; i <= 2; i++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		c := Config{NodeID: nodeID(i), Site: "example.com", Listener: listener, Handler: &sink{}}
		c.Gossip.BindAddr = netip.MustParseAddrPort("127.0.0.1:0")
		if join != "" {
			c.Gossip.Join = []string{join}
		}
		l, err := Open(c)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { l.Close() })
		l.SetConfiguration(Configuration{})
		if err := l.Start(); err != nil {
			b.Fatal(err)
		}
		join = l.GossipAddr()
		links = append(links, l)
	}
	for !links[0].Connectivity("n2").Connected {
		<-time.After(time.Millisecond)
	}
	return links[0]
}

// sink takes every message.
type sink struct{ handler }

func (*sink) ReceiveMessage(_ string, _ store.Session, _ *protocol.Message, done func(protocol.Outcome)) {
	done(protocol.Outcome{Status: protocol.StatusOK})
}

// BenchmarkDeliver hands messages of 100 octets to another node, with so many
// on their way at a time.
func BenchmarkDeliver(b *testing.B) {
	for _, window := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint("window=", window), func(b *testing.B) {
			l := loopback(b)
			m := message("0123456789abcdef")
			m.Entity, m.Deadline = make([]byte, 100), time.Now().Add(time.Hour)
			free := make(chan struct{}, window)
			var all sync.WaitGroup
			all.Add(b.N)
			done := func(o protocol.Outcome) {
				if o.Status != protocol.StatusOK {
					b.Error(o)
				}
				<-free
				all.Done()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				free <- struct{}{}
				l.SendToNode("n2", session, m, done)
			}
			all.Wait()
		})
	}
}
