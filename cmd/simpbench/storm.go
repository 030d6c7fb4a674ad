//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"simpd/cmd/simpbench/load"
)

type stormFlags struct {
	users  int
	pairs  int
	victim string
	jitter time.Duration
}

func stormCommand(s *settings) *cobra.Command {
	var f stormFlags
	c := command(s, "storm", "one of three nodes is killed, and its users listen again elsewhere: how long that takes",
		func() ([]row, error) { return []row{f.row()}, f.check() })
	c.Flags().IntVar(&f.users, "users", 10_000, "listening users of the node that is killed")
	c.Flags().IntVar(&f.pairs, "pairs", 100, "pairs on the other nodes that talk meanwhile")
	c.Flags().StringVar(&f.victim, "victim", "follower", "leader or follower")
	c.Flags().DurationVar(&f.jitter, "jitter", stormJitter, "how long a client waits at most before it connects again")
	return c
}

func (f *stormFlags) check() error {
	if f.victim != "leader" && f.victim != "follower" {
		return fmt.Errorf("--victim: %q is neither leader nor follower", f.victim)
	}
	if f.jitter < 0 || f.jitter > time.Minute {
		return errors.New("--jitter: 0 to 1m")
	}
	return errors.Join(between("--users", f.users, 1, 15_000), between("--pairs", f.pairs, 1, 1000))
}

func (f *stormFlags) row() row {
	return row{name: "storm", stages: []stage{{nodes: 3}}, users: f.users + 2*f.pairs, play: f.play}
}

// storm is the users of a node that dies. Each connects to one of the other
// nodes after a random wait, and again as long as that fails.
type storm struct {
	load.Ignore
	round    *round
	jitter   time.Duration
	others   []int // the nodes that live
	users    int
	back     int
	attempts int
	refused  map[string]int // logins that failed, by reason
	lost     []time.Time    // by user
	took     []time.Duration
}

func (s *storm) Gone(c *load.Client, err error) {
	user := c.Number
	if s.lost[user].IsZero() {
		s.lost[user] = time.Now()
	} else {
		s.refused[reason(err)]++
	}
	s.round.loop.After(rand.N(max(s.jitter, time.Millisecond)), func() { s.connect(user) })
}

// reason is why a login failed, in a word that many logins share.
func reason(err error) string {
	if why, ok := errors.AsType[*load.Refusal](err); ok {
		return fmt.Sprintf("%s %d", why.Verb, why.Status)
	}
	return "connection lost"
}

func (s *storm) connect(user int) {
	s.attempts++
	subject := s.round.subject
	node := s.others[(user+s.attempts)%len(s.others)]
	if _, err := s.round.loop.Login(subject.dialect, user, subject.at[node], source(user), s); err != nil {
		s.refused["connect"]++
		s.round.loop.After(retryAfter, func() { s.connect(user) })
	}
}

const retryAfter = 250 * time.Millisecond

func (s *storm) Ready(c *load.Client) {
	s.back++
	s.took = append(s.took, time.Since(s.lost[c.Number]))
}

// silence is pairs in a closed loop, and the longest time in which nothing
// was answered to one of them.
type silence struct {
	*pairs
	since   map[*load.Client]time.Time
	longest time.Duration
}

func (s *silence) Result(c *load.Client, n uint64, status int) {
	now := time.Now()
	if before, ok := s.since[c]; ok {
		s.longest = max(s.longest, now.Sub(before))
	}
	s.since[c] = now
	s.pairs.Result(c, n, status)
}

func (f *stormFlags) play(ctx context.Context, r *round) error {
	victim, others, err := f.choose(ctx, r.subject)
	if err != nil {
		return err
	}
	s := &storm{round: r, jitter: f.jitter, others: others, users: f.users, refused: map[string]int{}, lost: make([]time.Time, f.users)}
	users, err := r.login(ctx, 0, f.users, func(int) int { return victim })
	if err != nil {
		return err
	}
	for i, c := range users {
		c.Number, c.Events = i, s
	}
	talkers, err := r.login(ctx, f.users, f.users+2*f.pairs, func(user int) int { return others[user%len(others)] })
	if err != nil {
		return err
	}
	return f.strike(ctx, r, s, victim, talkers)
}

// choose picks the node to die.
func (f *stormFlags) choose(ctx context.Context, s *subject) (victim int, others []int, err error) {
	leader, err := s.leader(ctx)
	if err != nil {
		return 0, nil, err
	}
	victim = leader
	if f.victim == "follower" {
		victim = (leader + 1) % len(s.nodes)
	}
	for n := range s.nodes {
		if n != victim {
			others = append(others, n)
		}
	}
	return victim, others, nil
}

// strike kills the node while the pairs talk, and waits until all are back.
func (f *stormFlags) strike(ctx context.Context, r *round, s *storm, victim int, talkers []*load.Client) error {
	quiet := &silence{pairs: newPairs(talkers, 100), since: map[*load.Client]time.Time{}}
	for _, c := range talkers {
		c.Events = quiet
	}
	quiet.start(talkers)
	if err := r.loop.RunFor(ctx, r.warmup); err != nil {
		return err
	}
	quiet.longest = 0
	r.loop.Longest()
	began := time.Now()
	r.subject.nodes[victim].Kill()
	err := r.loop.Run(ctx, stormTimeout, func() bool { return s.back == s.users })
	took := time.Since(began)
	if err != nil {
		return fmt.Errorf("%d of %d listen again (%s): %w", s.back, s.users, s.why(), err)
	}
	if err := quiet.stop(ctx, r.loop); err != nil {
		return fmt.Errorf("between users of the other nodes: %w", err)
	}
	f.report(r, s, quiet, took)
	return nil
}

const (
	stormTimeout = 2 * time.Minute
	stormJitter  = time.Second // what clients should do
)

func (f *stormFlags) report(r *round, s *storm, quiet *silence, took time.Duration) {
	of := fmt.Sprintf(", %d users of a %s", f.users, f.victim)
	slices.Sort(s.took)
	r.report("until all listen again"+of, "ms", milliseconds(took))
	r.report("until one listens again, median"+of, "ms", milliseconds(quantile(s.took, 0.5)))
	r.report("longest silence of the others"+of, "ms", milliseconds(quiet.longest))
	r.report("of it at most the clients' own"+of, "ms", milliseconds(r.loop.Longest()))
	r.report("logins that were refused"+of, "", float64(s.attempts-s.back))
	for _, why := range slices.Sorted(maps.Keys(s.refused)) {
		fmt.Fprintf(r.log, "  %d logins failed: %s\n", s.refused[why], why)
	}
}

func (s *storm) why() string { return fmt.Sprintf("%d attempts; failures: %v", s.attempts, s.refused) }
