package router

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/accounts"
)

// newLeaverSite starts a site of two nodes, of which n1 leads and looks for
// leavers.
func newLeaverSite(t *testing.T, leads func() bool) (*site, *directorySource) {
	s, d := newSourceSite(t, []string{"corp"}, "n1", "n2")
	s.raiseSchema()
	n := s.nodes["n1"]
	n.config.Leads = leads
	n.running.Go(n.watchLeavers)
	return s, d
}

func always() bool { return true }

func isOut(c *client) bool { return slices.Contains(c.heard(), "bye 401") }

// Who is disabled or missing in the directory is out on all nodes within 60 s.
// Others stay, and so does everybody while the directory is down.
func TestLeaversAreOutWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newLeaverSite(t, always)
		d.set(func() { d.passwords = map[string]string{"dora": "right", "erik": "right", "finn": "right"} })
		in := map[string]*client{}
		for _, name := range []string{"dora", "erik", "finn"} {
			in[name] = s.enter(name, "n2", s.mustCheck(name, "n2"))
		}
		d.set(func() { d.broken = errors.New("connection refused") })
		time.Sleep(10 * time.Minute)
		for name, c := range in {
			if isOut(c) {
				t.Errorf("%s is out, because the directory is down", name)
			}
		}
		d.set(func() {
			d.broken, d.passwords["dora"] = nil, "off"
			delete(d.passwords, "erik")
		})
		time.Sleep(40 * time.Second)
		synctest.Wait()
		for name, c := range in {
			if out := isOut(c); out != (name != "finn") {
				t.Errorf("%s is out: %v", name, out)
			}
		}
		d.set(func() { d.passwords["dora"] = "right" })
		s.enter("dora", "n1", s.mustCheck("dora", "n1"))
		if n := s.nodes["n1"].config.Sources.Metrics()[0].Left.Load(); n != 2 {
			t.Errorf("%d leavers are counted", n)
		}
	})
}

// Somebody who is missing only once has not left, and a table account is no
// directory's.
func TestMissingOnceIsNotLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newLeaverSite(t, always)
		dora, alice := s.enter("dora", "n1", s.mustCheck("dora", "n1")), s.login("alice", "n1")
		d.set(func() { delete(d.passwords, "dora") })
		time.Sleep(leaverInterval)
		synctest.Wait()
		d.set(func() { d.passwords["dora"] = "right" })
		time.Sleep(time.Minute)
		if isOut(dora) || isOut(alice) {
			t.Error("somebody is out")
		}
	})
}

// If the directory misses many at once, it is wrong: nobody is disabled, and an
// operator is told.
func TestManyLeaversAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newLeaverSite(t, always)
		for i := range fewLeavers + 1 {
			name := fmt.Sprint("user", i)
			d.set(func() { d.passwords[name] = "right" })
			s.mustCheck(name, "n1")
		}
		c := s.enter("user0", "n1", s.mustCheck("user0", "n1"))
		kept := d.passwords
		d.set(func() { d.passwords = nil })
		time.Sleep(2 * time.Minute)
		n := s.nodes["n1"]
		if problems := n.SourceProblems(); len(problems) != 1 || !strings.Contains(problems[0], "11 of the 11 accounts") || isOut(c) {
			t.Errorf("%v; user0 is out: %v", problems, isOut(c))
		}
		d.set(func() {
			d.passwords = kept
			delete(kept, "user0")
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		if problems := n.SourceProblems(); len(problems) != 0 || !isOut(c) {
			t.Errorf("%v; user0 is out: %v", problems, isOut(c))
		}
	})
}

// A node that does not lead asks nobody, nor does one whose site has no
// directory.
func TestOnlyTheLeaderLooksForLeavers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leads atomic.Bool
		leads.Store(true)
		s, d := newLeaverSite(t, leads.Load)
		s.mustCheck("dora", "n1")
		time.Sleep(time.Minute)
		leads.Store(false)
		before := d.timesAsked()
		time.Sleep(time.Minute)
		if again := d.timesAsked() - before; before == 0 || again > 0 {
			t.Errorf("asked %d times, and %d times by one who does not lead", before, again)
		}
		leads.Store(true)
		s.nodes["n1"].config.Sources.Replace(accounts.Set{})
		time.Sleep(time.Minute)
		if d.timesAsked() != before {
			t.Error("a source that is gone is asked")
		}
	})
}

// Who was missing before the directory missed too many has not left: nothing is
// known of the time between.
func TestMissingTwiceMeansInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newLeaverSite(t, always)
		all := map[string]string{"dora": "right"}
		for i := range fewLeavers + 1 {
			all[fmt.Sprint("user", i)] = "right"
		}
		d.set(func() { d.passwords = all })
		for name := range all {
			s.mustCheck(name, "n1")
		}
		dora := s.enter("dora", "n1", s.mustCheck("dora", "n1"))
		without := maps.Clone(all)
		delete(without, "dora")
		for _, passwords := range []map[string]string{without, {"dora": "right"}, without, all, all} {
			d.set(func() { d.passwords = passwords })
			time.Sleep(leaverInterval)
			synctest.Wait()
		}
		if isOut(dora) {
			t.Error("who was missing once, and once more later, is out")
		}
	})
}

// If some accounts can't be looked up, others that have left are out, and an
// operator is told.
func TestLookUpsThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newLeaverSite(t, always)
		for i := range accounts.MaxFound {
			d.set(func() { d.passwords[fmt.Sprint("user", i)] = "right" })
			s.mustCheck(fmt.Sprint("user", i), "n1")
		}
		s.mustCheck("dora", "n1")
		users := s.nodes["n1"].usersBySource(map[string]int{"corp": 10})["corp"]
		name := users[0].Local()
		first := s.enter(name, "n1", s.mustCheck(name, "n1"))
		d.set(func() {
			d.jam = users[accounts.MaxFound].Local()
			delete(d.passwords, name)
		})
		time.Sleep(leaverInterval)
		synctest.Wait()
		problems := s.nodes["n1"].SourceProblems()
		if len(problems) != 1 || !strings.Contains(problems[0], "1 of the 101 accounts of the account source corp could not be looked up") {
			t.Error(problems)
		}
		time.Sleep(leaverInterval)
		synctest.Wait()
		if !isOut(first) {
			t.Error("the leaver is not out")
		}
	})
}

// Only those are counted whom the table has disabled.
func TestLeaversAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := newLeaverSite(t, always)
		s.mustCheck("dora", "n1")
		n := s.nodes["n1"]
		d.set(func() { delete(d.passwords, "dora") })
		hook := func() { s.must(setDisabled("dora", true)) }
		n.beforeProposal.Store(&hook)
		time.Sleep(time.Minute)
		if left := n.config.Sources.Metrics()[0].Left.Load(); left != 0 || n.beforeProposal.Load() != nil {
			t.Errorf("%d leavers are counted", left)
		}
	})
}
