package blockfeed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"simpd/protocol"
)

// Table holds the site's blocks. Any goroutine may call its methods.
type Table interface {
	// HasBlocks reports whether all nodes know blocks.
	HasBlocks() bool
	// Feeds returns the names of the feeds that have blocks.
	Feeds() []string
	// Blocks returns the blocks of a feed, by target.
	Blocks(feed string) map[protocol.BlockTarget]Entry
	// Room returns how many blocks feeds may still add; less than 0 if there are
	// too many.
	Room() int
	// Change removes blocks of a feed and adds or replaces others.
	Change(ctx context.Context, feed string, remove []protocol.BlockTarget, add []Entry) error
	// Drop removes all blocks of a feed.
	Drop(ctx context.Context, feed string) error
}

// Config configures a Manager. All fields but Sources and Fetcher are required.
type Config struct {
	Sources  []Source // with different names
	Domains  []string // of the site, in A-labels
	Table    Table
	IsLeader func() bool
	Fetcher  Fetcher
	Logger   *slog.Logger
}

// Manager keeps the blocks of feeds as their lists are.
type Manager struct {
	config Config

	mu    sync.Mutex
	feeds map[string]*feed // by name; guarded by mu

	nextSweep time.Time // used by Run alone
}

// feed is the state of one feed.
type feed struct {
	Status
	etag     string
	failures int // in a row
}

// Status says how a feed is doing.
type Status struct {
	Name    string
	Success time.Time // when its list was last had and used; zero: not since this node leads
	Entries int       // of that list
	LeftOut []LeftOut // likewise
	Err     error     // why the last attempt failed; nil: it did not
	Next    time.Time // when the next attempt begins

	Fetched, Failed uint64 // attempts of this process
}

// New returns a Manager. It does nothing before Run.
func New(c Config) *Manager { return &Manager{config: c, feeds: map[string]*feed{}} }

const (
	checkInterval = 5 * time.Second
	// firstRetry is the pause after the first failed attempt; it doubles up to
	// the feed's interval.
	firstRetry = time.Minute
	// sweepInterval is how often the leader looks for blocks of feeds that are not
	// configured any more.
	sweepInterval = 10 * time.Minute
	sweepRetry    = time.Minute

	// What one change may hold.
	changeEntries = 500
	changeOctets  = 64 << 10
)

// Run fetches the lists that are due while this node leads, until ctx ends. It is
// called once.
func (m *Manager) Run(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		if !m.config.IsLeader() {
			m.forget()
		} else if m.config.Table.HasBlocks() {
			m.dropOthers(ctx)
			m.updateDue(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// forget forgets what a node that leads no more knows of feeds, but for counts.
func (m *Manager) forget() {
	m.mu.Lock()
	for name, f := range m.feeds {
		m.feeds[name] = &feed{Status: Status{Name: name, Fetched: f.Fetched, Failed: f.Failed}}
	}
	m.mu.Unlock()
	m.nextSweep = time.Time{}
}

// dropOthers drops the blocks of feeds that are not configured any more.
func (m *Manager) dropOthers(ctx context.Context) {
	if time.Now().Before(m.nextSweep) {
		return
	}
	m.nextSweep = time.Now().Add(sweepInterval)
	for _, name := range m.config.Table.Feeds() {
		if slices.ContainsFunc(m.config.Sources, func(s Source) bool { return s.Name == name }) {
			continue
		}
		if err := m.config.Table.Drop(ctx, name); err != nil {
			m.nextSweep = time.Now().Add(sweepRetry)
			m.config.Logger.Warn("blocks of a removed feed not dropped", "feed", name, "error", err)
			continue
		}
		m.config.Logger.Info("blocks of a removed feed dropped", "feed", name)
	}
}

// updateDue updates the feeds that are due, at the same time, and waits for them.
func (m *Manager) updateDue(ctx context.Context) {
	var updates sync.WaitGroup
	defer updates.Wait()
	for _, source := range m.config.Sources {
		etag, due := m.isDue(source.Name)
		if due {
			updates.Go(func() {
				done, err := m.update(ctx, source, etag)
				m.recordOutcome(ctx, source, done, err)
			})
		}
	}
}

// isDue reports whether a feed has to be fetched now, and with which ETag.
func (m *Manager) isDue(name string) (etag string, due bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.feeds[name]
	if f == nil {
		return "", true
	}
	return f.etag, !time.Now().Before(f.Next)
}

// updated says what an update has come to.
type updated struct {
	unchanged bool
	etag      string
	list      List
}

// update fetches a list and makes it the feed's blocks.
func (m *Manager) update(ctx context.Context, source Source, etag string) (u updated, err error) {
	got, err := m.config.Fetcher.Fetch(ctx, source, etag)
	if err != nil {
		return u, err
	}
	if got.Unchanged {
		return updated{unchanged: true, etag: etag}, nil
	}
	list, err := ParseList(got.Text, m.config.Domains)
	if err != nil {
		return u, err
	}
	return updated{etag: got.ETag, list: list}, m.replace(ctx, source.Name, &list)
}

// replace makes a list the blocks of a feed, piece by piece.
func (m *Manager) replace(ctx context.Context, name string, list *List) error {
	if !m.config.IsLeader() {
		return errors.New("this node does not lead any more")
	}
	d := list.Compare(m.config.Table.Blocks(name), time.Now())
	if more, room := d.New-len(d.Remove), max(m.config.Table.Room(), 0); more > room {
		return fmt.Errorf("the list needs room for %d more blocks; feeds may add %d", more, room)
	}
	for targets := range slices.Chunk(d.Remove, changeEntries) {
		if err := m.config.Table.Change(ctx, name, targets, nil); err != nil {
			return err
		}
	}
	for len(d.Add) > 0 {
		n := firstPiece(d.Add)
		if err := m.config.Table.Change(ctx, name, nil, d.Add[:n]); err != nil {
			return err
		}
		d.Add = d.Add[n:]
	}
	return nil
}

// firstPiece returns how many of the entries go into one change.
func firstPiece(entries []Entry) int {
	octets := 0
	for i, e := range entries {
		octets += len(e.Target.String()) + len(e.Written.String()) + len(e.Reason)
		if i == changeEntries || octets > changeOctets && i > 0 {
			return i
		}
	}
	return len(entries)
}

// recordOutcome remembers and logs what an attempt has come to.
func (m *Manager) recordOutcome(ctx context.Context, source Source, u updated, err error) {
	if ctx.Err() != nil {
		return // the node stops
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.feeds[source.Name]
	if f == nil {
		f = &feed{Status: Status{Name: source.Name}}
		m.feeds[source.Name] = f
	}
	if err != nil {
		f.fail(source, err)
		m.config.Logger.Warn("block feed not updated", "feed", source.Name, "error", err, "attempts", f.failures, "next", f.Next.UTC().Format(time.RFC3339))
		return
	}
	f.Fetched++
	f.failures, f.Err, f.Success, f.etag = 0, nil, time.Now(), u.etag
	f.Next = f.Success.Add(source.Interval)
	if u.unchanged {
		return
	}
	f.Entries, f.LeftOut = len(u.list.Entries), u.list.LeftOut
	m.config.Logger.Info("block feed updated", "feed", source.Name, "entries", f.Entries, "left_out", len(f.LeftOut))
	if len(f.LeftOut) > 0 {
		m.config.Logger.Warn("block feed has entries that it may not have", "feed", source.Name, "count", len(f.LeftOut), "first", f.LeftOut[0].String())
	}
}

// fail records a failed attempt. The list is fetched as a whole the next time.
func (f *feed) fail(source Source, err error) {
	f.Failed++
	f.failures++
	f.Err, f.etag = err, ""
	f.Next = time.Now().Add(min(firstRetry<<min(f.failures-1, 10), source.Interval))
}

// Statuses returns how the feeds are doing that this node has tried to fetch, in
// the order of the configuration. Any goroutine may call it.
func (m *Manager) Statuses() (all []Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.config.Sources {
		if f := m.feeds[s.Name]; f != nil {
			all = append(all, f.Status)
		}
	}
	return all
}

// Problems says what is wrong with the feeds, for operators.
func (m *Manager) Problems() (all []string) {
	for _, s := range m.Statuses() {
		if s.Err != nil {
			had := "not since this node leads"
			if !s.Success.IsZero() {
				had = "at " + s.Success.UTC().Format(time.RFC3339)
			}
			all = append(all, fmt.Sprintf("the block feed %s could not be updated (last success: %s; the next attempt is at %s), so its blocks stay as they were: %v",
				s.Name, had, s.Next.UTC().Format(time.RFC3339), s.Err))
		}
		if len(s.LeftOut) > 0 {
			all = append(all, fmt.Sprintf("the block feed %s lists %d targets that a feed may not block, which are left out: the first is in %s", s.Name, len(s.LeftOut), s.LeftOut[0]))
		}
	}
	return all
}
