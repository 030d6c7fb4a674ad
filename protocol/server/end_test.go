package server

import "testing"

// What was asked before QUIT, in the same packet, takes effect and gets its true
// answer first.
func TestQueuedRequestsTakeEffectBeforeTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		octets string
		want   []string
	}{
		"LISTEN": {"1 LISTEN\r\nq QUIT\r\n", []string{"1 200 session=<rest>", "q 200"}},
		"STATE":  {"1 LISTEN\r\n2 STATE state=busy\r\nq QUIT\r\n", []string{"1 200 session=<rest>", "2 200 index=<any>", "q 200"}},
		"UNLISTEN": {"1 LISTEN\r\n2 UNLISTEN\r\n3 UNLISTEN\r\nq QUIT\r\n",
			[]string{"1 200 session=<rest>", "2 200 index=<any>", "3 409 :this session does not listen", "q 200"}},
		"SEND to oneself": {"1 LISTEN\r\n2 SEND to=alice@example.com id=x {4}\r\n\r\nhiq QUIT\r\n",
			[]string{"1 200 session=<rest>", "m1 MESSAGE from=alice@example.com <rest>", "", "hi2 201 id=x <rest>", "q 200"}},
		"SEND to nobody": {"1 LISTEN\r\n2 SEND to=bob@example.com id=x {4}\r\n\r\nhiq QUIT\r\n",
			[]string{"1 200 session=<rest>", "2 480 id=x <rest>", "q 200"}},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, nil, func(s *stage) {
				c1 := s.login("alice")
				c1.write(c.octets)
				for _, line := range c.want {
					c1.expect("%s", line)
				}
				c1.expectEnd()
			})
		})
	}
}

// A half-close is the end of requests, and of nothing that was asked before.
func TestQueuedRequestsTakeEffectBeforeAHalfClose(t *testing.T) {
	play(t, nil, func(s *stage) {
		c := s.login("alice")
		c.write("1 LISTEN\r\n2 STATE state=away\r\n3 UNLISTEN\r\n")
		_ = c.Conn.(*memConn).CloseWrite() // never fails
		c.expect("1 200 session=<rest>")
		c.expect("2 200 index=<any>")
		c.expect("3 200 index=<any>")
		c.expectEnd()
	})
}
