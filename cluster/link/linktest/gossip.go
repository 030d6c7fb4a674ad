package linktest

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// Transport is memberlist's transport over a Network.
type Transport struct {
	network *Network
	addr    string
	tcp     net.Listener
	packets chan *memberlist.Packet
	streams chan net.Conn
	closed  chan struct{}
	once    sync.Once
	running sync.WaitGroup
}

// Gossip makes a transport at IP:port.
func (n *Network) Gossip(addr string) (*Transport, error) {
	tcp, err := n.Listen(addr)
	if err != nil {
		return nil, err
	}
	t := &Transport{
		network: n, addr: addr, tcp: tcp,
		packets: make(chan *memberlist.Packet, 1024), streams: make(chan net.Conn), closed: make(chan struct{}),
	}
	n.mu.Lock()
	n.packets[addr] = t
	n.mu.Unlock()
	t.running.Go(t.accept)
	return t, nil
}

func (t *Transport) accept() {
	for {
		c, err := t.tcp.Accept()
		if err != nil {
			return
		}
		select {
		case t.streams <- c:
		case <-t.closed:
			c.Close()
		}
	}
}

// FinalAdvertiseAddr is the address the transport was made for.
func (t *Transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, port, _ := net.SplitHostPort(t.addr)
	p, err := strconv.Atoi(port)
	return net.ParseIP(host), p, err
}

// WriteTo sends a packet, which is lost if the way is cut or nobody is there.
func (t *Transport) WriteTo(b []byte, addr string) (time.Time, error) {
	now := time.Now()
	cut, _ := t.network.state(way{hostOf(t.addr), hostOf(addr)})
	t.network.mu.Lock()
	to := t.network.packets[addr]
	lost := t.network.random.IntN(100) < t.network.loss
	t.network.mu.Unlock()
	if to == nil || cut || lost {
		return now, nil
	}
	select {
	case to.packets <- &memberlist.Packet{Buf: append([]byte(nil), b...), From: tcpAddr(t.addr), Timestamp: now}:
	default:
	}
	return now, nil
}

// PacketCh gives the packets that arrive.
func (t *Transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// DialTimeout connects to another transport.
func (t *Transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	select {
	case <-t.closed:
		return nil, fmt.Errorf("dial %s: %w", addr, net.ErrClosed)
	default:
	}
	return t.network.Dialer(hostOf(t.addr))(ctx, addr)
}

// StreamCh gives the connections that arrive.
func (t *Transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown ends the transport.
func (t *Transport) Shutdown() error {
	t.once.Do(func() {
		close(t.closed)
		t.tcp.Close()
		t.network.mu.Lock()
		if t.network.packets[t.addr] == t {
			delete(t.network.packets, t.addr)
		}
		t.network.mu.Unlock()
	})
	t.running.Wait()
	return nil
}
