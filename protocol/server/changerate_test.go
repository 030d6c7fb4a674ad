package server

import (
	"testing"
	"time"

	"simpd/protocol/rate"
)

func limitChanges(perSecond, burst float64) func(*Config) {
	return func(c *Config) { c.Limits.Changes = rate.NewLimit(perSecond, burst) }
}

// Beyond the burst the newest STATE waits for its token, and those before it go
// with it: watchers see one change a second, and the newest arrives.
func TestStatesBeyondTheLimitAreMerged(t *testing.T) {
	play(t, limitChanges(1, 3), func(s *stage) {
		watcher := s.login("bob")
		c := s.login("alice")
		c.send("l LISTEN")
		c.expect("l 200 <rest>")
		watcher.send("w WATCH ima=alice@example.com")
		watcher.expect("w 100 ima=alice@example.com state=available <rest>")
		watcher.expect("w 200 <rest>")
		started := time.Now()
		for i := range 100 {
			c.send("%d STATE state=busy note=%d", i, i)
		}
		c.send("last STATE state=away")
		for i := range 100 {
			c.expect("%d 200 <rest>", i)
		}
		c.expect("last 200 <rest>")
		if took := time.Since(started); took < time.Second || took > 1100*time.Millisecond {
			t.Errorf("100 changes were answered in %v", took)
		}
		for _, note := range []string{"busy <any> note=0", "busy <any> note=1", "away <any> note=99"} {
			watcher.expect("* PRESENCE ima=alice@example.com state=%s <rest>", note)
		}
		watcher.expectNothing(time.Minute)
	})
}

// What comes far too early is refused, and says when to come again.
func TestChangesFarBeyondTheLimitAreRefused(t *testing.T) {
	play(t, limitChanges(0.1, 1), func(s *stage) {
		c := s.login("alice")
		c.send("1 LISTEN")
		c.expect("1 200 <rest>")
		c.send("2 STATE state=away")
		c.expect("2 429 retry=10 :too many changes in a short time")
		c.send("3 UNLISTEN") // is never refused, but counts
		c.expect("3 200 <rest>")
		c.send("4 LISTEN")
		c.expect("4 429 retry=20 :too many changes in a short time")
		time.Sleep(16 * time.Second)
		c.send("5 LISTEN") // waits for the last 4 s
		c.expect("5 200 <rest>")
		c.send("6 LISTEN")
		c.expect("6 409 :this session listens already")
	})
}

// A user's sessions share one limit; another user has their own.
func TestTheLimitOfChangesIsAUsers(t *testing.T) {
	play(t, limitChanges(0.1, 2), func(s *stage) {
		a, b, other := s.login("alice"), s.login("alice"), s.login("bob")
		for _, c := range []*client{a, b, other} {
			c.send("1 LISTEN")
			c.expect("1 200 <rest>")
		}
		a.send("2 STATE state=away")
		a.expect("2 429 <rest>")
		other.send("2 STATE state=away")
		other.expect("2 200 <rest>")
		a.send("q QUIT")
		a.expect("q 200")
		again := s.login("alice") // a new connection is no new budget
		again.send("1 LISTEN")
		again.expect("1 429 <rest>")
	})
}

// For each change that watchers are told, 64 of lists may be made at once, and
// 16 after that. They do not use up the others.
func TestChangesOfLists(t *testing.T) {
	play(t, limitChanges(1, 2), func(s *stage) {
		c := s.login("alice")
		started := time.Now()
		for i := range 2 * listBurst {
			c.send("%d CONTACT ima=u%d@example.com", i, i)
			c.expect("%d 200", i)
		}
		c.send("l LISTEN")
		c.expect("l 200 <rest>")
		if took := time.Since(started); took > 0 {
			t.Errorf("a burst took %v", took)
		}
		for i := range listRate {
			c.send("%d ACL who=u%d@example.com message=deny", i, i)
			c.expect("%d 200", i)
		}
		if took := time.Since(started); took < 990*time.Millisecond || took > 1010*time.Millisecond {
			t.Errorf("%d more took %v", listRate, took)
		}
	})
}

// A rule for presence counts as a change that watchers are told, also when it
// goes: all of them are looked at.
func TestRulesForPresenceCountAsChanges(t *testing.T) {
	play(t, limitChanges(1, 2), func(s *stage) {
		c := s.login("alice")
		started := time.Now()
		for i, rule := range []string{" presence=deny", " presence=allow message=deny", "", " presence=deny"} {
			c.send("%d ACL who=bob@example.com%s", i, rule)
			c.expect("%d 200", i)
		}
		if took := time.Since(started); took != 2*time.Second {
			t.Errorf("a burst of 2 and the next 2 took %v", took)
		}
	})
	play(t, limitChanges(0.1, 1), func(s *stage) {
		c := s.login("alice")
		c.send("1 ACL who=* presence=deny")
		c.expect("1 200")
		c.send("2 ACL who=*")
		c.expect("2 429 retry=10 :too many changes in a short time")
	})
}

func TestWatchesAreLimited(t *testing.T) {
	play(t, nil, func(s *stage) {
		s.site.watches.limit = rate.NewLimit(1, 3)
		c := s.login("alice")
		c.send("1 QUERY ima=a@example.com ima=b@example.com")
		c.expect("1 100 <rest>")
		c.expect("1 100 <rest>")
		c.expect("1 200 <rest>")
		c.send("2 WATCH ima=a@example.com ima=b@example.com")
		c.expect("2 429 retry=1 :too many watches in a short time")
		time.Sleep(time.Second)
		c.send("3 WATCH ima=a@example.com ima=b@example.com")
		c.expect("3 100 <rest>")
		c.expect("3 100 <rest>")
		c.expect("3 200 <rest>")
	})
}
