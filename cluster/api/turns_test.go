package api_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"simpd/cluster/api"
	"simpd/cluster/link/pki"
	"simpd/protocol/fairslots"
)

// remoteTLS is remote with TLS.
func remoteTLS(t *testing.T) (dial func() net.Conn, server *api.Server) {
	t.Helper()
	dir := t.TempDir()
	if _, err := pki.Make(pki.Order{Dir: dir, Site: "example.com", Nodes: []pki.NodeOrder{{ID: "n1"}}}); err != nil {
		t.Fatal(err)
	}
	identity, err := pki.Load(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "node-n1.crt"), filepath.Join(dir, "node-n1.key"))
	if err != nil {
		t.Fatal(err)
	}
	return newSite(t, func(c *api.Config) { c.TLS = identity.Programs("h2") }).remote(t)
}

// acquireTurns takes every slot of handshakes that compute.
func acquireTurns(t *testing.T, turns *fairslots.Slots) {
	t.Helper()
	for range runtime.GOMAXPROCS(0) {
		if err := turns.Acquire(t.Context(), netip.Prefix{}); err != nil {
			t.Fatal(err)
		}
	}
}

// A program's TLS handshake waits for its turn.
func TestHandshakesOfProgramsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, server := remoteTLS(t)
		turns, shaken := server.Turns(), make(chan error, 1)
		acquireTurns(t, turns)
		c := tls.Client(dial(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		go func() { shaken <- c.Handshake() }()
		synctest.Wait()
		if n := turns.WaitingOf(netip.MustParsePrefix("192.0.2.0/24")); n != 1 { // remoteConn's
			t.Errorf("%d wait in the turns of the network", n)
		}
		turns.Release()
		if err := <-shaken; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for range runtime.GOMAXPROCS(0) - 1 {
			turns.Release()
		}
		acquireTurns(t, turns)
		expectSettings(t, c) // it needs no turn any more
	})
}

// expectSettings opens HTTP/2, and waits until the server confirms it.
func expectSettings(t *testing.T, c net.Conn) {
	t.Helper()
	framer := http2.NewFramer(c, c)
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && s.IsAck() {
			return
		}
	}
}

// A connection that has not spoken HTTP/2 yet does not hold the shutdown up,
// however far it has come.
func TestShutdownEndsConnectionsThatAreNotOpenYet(t *testing.T) {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}
	settings := string([]byte{0, 0, 6, 4, 0, 0, 0, 0, 0}) // the header of a frame of 6 octets
	for name, opening := range map[string]string{
		"TLS alone": "", "half a preface": http2.ClientPreface[:10], "a preface": http2.ClientPreface, "half a frame": http2.ClientPreface + settings + "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial, server := remoteTLS(t)
				c := tls.Client(dial(), config)
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte(opening)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				began := time.Now()
				server.Shutdown(context.Background())
				if took := time.Since(began); took != 0 {
					t.Errorf("the shutdown took %v", took)
				}
			})
		})
	}
}

// A program that answers nothing delays the stop of a node by a second, and one
// with a call under way until that has ended.
func TestShutdownDoesNotWaitForPrograms(t *testing.T) {
	for name, withCall := range map[string]bool{"mute": false, "mute after a call": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial, server := newSite(t).remote(t)
				c := newMuteClient(t, dial())
				if withCall {
					id, _ := c.call(checkMethod)
					time.AfterFunc(3500*time.Millisecond, func() { c.ask(id) })
				}
				synctest.Wait()
				began := time.Now()
				server.Shutdown(context.Background())
				want := time.Second
				if withCall {
					want = 4 * time.Second
				}
				if took := time.Since(began); took != want {
					t.Errorf("the shutdown took %v; want %v", took, want)
				}
			})
		})
	}
}

// A handshake that may not stay gives its turn up: where it had to make room,
// has waited too long, or the server is shut down.
func TestHandshakesOfProgramsGiveTheirTurnUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial, server := remoteTLS(t)
		turns := server.Turns()
		acquireTurns(t, turns)
		waiting := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := turns.Waiting(); n != want {
				t.Errorf("%d wait, not %d", n, want)
			}
		}
		shake := func() {
			if _, err := dial().Write([]byte("something")); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		for range 20 {
			shake()
		}
		waiting(16)
		time.Sleep(5 * time.Second)
		waiting(0)
		shake()
		waiting(1)
		began := time.Now()
		server.Shutdown(context.Background())
		if took := time.Since(began); took != 0 {
			t.Errorf("the shutdown took %v", took)
		}
	})
}
