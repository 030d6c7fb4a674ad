package api

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

func testConn(t *testing.T, source int) *conn {
	a, b := net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	addr := netip.AddrFrom4([4]byte{198, 18, byte(source >> 8), byte(source)})
	c := &conn{raw: a, source: netip.PrefixFrom(addr, 32)}
	c.open, c.close = context.WithCancel(t.Context())
	return c
}

func TestManyStrangersLeaveRoomForOneMore(t *testing.T) {
	a := newAdmission()
	greedy := make([]*conn, maxSourceAnonymous)
	for i := range greedy {
		greedy[i] = testConn(t, 0)
		a.add(greedy[i])
	}
	for i := 1; a.size() < maxAnonymous; i++ {
		a.add(testConn(t, i))
	}
	if honest := testConn(t, 9999); !a.add(honest) || honest.place != placeAnonymous {
		t.Fatal("a new source is refused")
	}
	if greedy[0].place != placeNone || a.size() != maxAnonymous {
		t.Errorf("the greediest source's oldest has place %v of %d", greedy[0].place, a.size())
	}
}

func TestKnownConnectionsAreBounded(t *testing.T) {
	a := newAdmission()
	add := func(source int) bool {
		c := testConn(t, source)
		ok := a.add(c)
		a.markIdentified(c)
		return ok
	}
	for i := range maxSourceConns {
		if !add(0) {
			t.Fatalf("connection %d of a source is refused", i)
		}
	}
	if add(0) {
		t.Error("a source has one connection too many")
	}
	for i := a.size(); i < maxConns; i++ {
		if !add(i) {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if add(maxConns) {
		t.Error("there is one connection too many")
	}
}

func TestAConnectionIsDroppedOnce(t *testing.T) {
	a, c := newAdmission(), testConn(t, 1)
	a.add(c)
	a.remove(c)
	a.remove(c)
	if a.size() != 0 || len(a.bySource) != 0 || len(a.anonymous) != 0 {
		t.Errorf("%d are left", a.size())
	}
}
