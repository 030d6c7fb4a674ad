package server

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"simpd/protocol"
)

func TestQUITAnswersAllFirst(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.listen("alice")
		alice.write("1 SEND to=bob@example.com {1}\r\nx2 QUERY ima=bob@example.com fresh=yes\r\n3 QUIT\r\n4 PING\r\n")
		alice.expect("2 100 <rest>")
		alice.expect("2 200 <rest>")
		tag, _ := bob.message()
		synctest.Wait() // QUIT has taken effect
		bob.write("1 SEND to=alice@example.com {1}\r\ny")
		bob.expect("1 480 <rest>") // she hears no more
		alice.expectNothing(time.Second)
		bob.send("%s 200", tag)
		alice.expect("1 200 <rest>")
		alice.expect("3 200")
		alice.expectEnd()
	})
}

func TestHalfCloseIsLikeQUIT(t *testing.T) {
	play(t, nil, func(s *stage) {
		bob, alice := s.listen("bob"), s.login("alice")
		alice.write("1 SEND to=bob@example.com {1}\r\nx")
		_ = alice.Conn.(*memConn).CloseWrite()
		tag, _ := bob.message()
		bob.send("%s 200", tag)
		alice.expect("1 200 <rest>")
		alice.expectEnd()
	})
}

// What is said last arrives, also where its writing was left to the end of
// another session's reading.
func TestTheLastLinesWaitForNoOtherSession(t *testing.T) {
	for what, end := range map[string]func(*client){
		"QUIT":       func(c *client) { c.write("1 PING\r\n2 QUIT\r\n") },
		"half-close": func(c *client) { c.write("1 PING\r\n"); _ = c.Conn.(*memConn).CloseWrite() },
		"BYE":        func(c *client) { c.write("1 PING\r\nbare\nline\r\n") },
	} {
		t.Run(what, func(t *testing.T) {
			play(t, nil, func(s *stage) {
				c := s.login("alice")
				s.server.network.Cork() // another session reads
				defer s.server.network.Uncork()
				end(c)
				c.expect("1 200")
				switch what {
				case "QUIT":
					c.expect("2 200")
				case "BYE":
					c.expect("* BYE <rest>")
				}
				c.expectEnd()
			})
		})
	}
}

// After BYE the server ends its sending side at once, and reads for a second
// so that BYE arrives.
func TestBYELingers(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		c.write("bare\nline\r\n1 PING\r\n")
		c.expect("* BYE status=400 :a LF that no CR precedes")
		c.expectEnd()
		c.send("2 PING") // is dropped, and does not break the connection
		synctest.Wait()
		time.Sleep(lingerTime + time.Millisecond)
		synctest.Wait()
		if _, err := c.Write([]byte("3 PING\r\n")); err == nil {
			t.Error("the connection is still read from after a second")
		}
	})
}

func TestShutdownSaysBYE(t *testing.T) {
	play(t, nil, func(s *stage) {
		alice, bob := s.listen("alice"), s.dial()
		if n := s.server.Move(func(protocol.Client) string { return "n2.example.com:7467" }, 30*time.Second, "maintenance"); n != 1 {
			t.Errorf("%d were asked to move", n)
		}
		alice.expect("* MOVE to=n2.example.com:7467 within=30 :maintenance")
		if open, proved := s.server.Sessions(); open != 2 || proved != 1 {
			t.Errorf("%d connections, %d authenticated", open, proved)
		}
		s.close()
		for _, c := range []*client{alice, bob} {
			c.expect("* BYE status=503 :this node is shutting down")
			c.expectEnd()
		}
		s.served <- ErrClosed // for the stage's own end
	})
}

func TestGreetingRefuses(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.site.refuse = "this node drains"
		c := s.connect(roomy)
		c.expect("* BYE status=503 :this node drains")
		c.expectEnd()
	})
}

// What waits for the site ends with the connection.
func TestEndOfConnectionEndsWaiting(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		s.site.slow = make(chan struct{})
		c.send("1 LISTEN")
		synctest.Wait()
		started := time.Now()
		for _, x := range s.server.allSessions() {
			x.Bye(protocol.StatusUnauthorized, "the account was removed")
		}
		c.expect("* BYE status=401 :the account was removed")
		c.expectEnd()
		_ = c.Close()
		synctest.Wait()
		if n := s.site.connected(); n != 0 || time.Since(started) > lingerTime {
			t.Errorf("%d users are left after %v", n, time.Since(started))
		}
	})
}

// BYE is not said in clear where TLS is to come.
func TestShutdownDuringHandshake(t *testing.T) {
	cert := certificate(t, "example.com")
	play(t, func(c *Config) { c.Certificates = NewCertificates(cert) }, func(s *stage) {
		l := newMemListener()
		ended := make(chan error, 1)
		go func() { ended <- s.server.ServeTLS(l) }()
		conn := l.dial(roomy, s.source)
		synctest.Wait()
		began := time.Now()
		s.close()
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("Shutdown waited for %v", waited)
		}
		if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
			t.Errorf("got %q, %v", b, err)
		}
		if err := <-ended; err != ErrClosed {
			t.Error(err)
		}
		s.served <- ErrClosed // for the stage's own end
	})
}
