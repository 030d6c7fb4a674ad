package proposals

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"simpd/cluster/peerrpc"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/store"
)

var update = flag.Bool("update", false, "write the expected outputs of the stories anew")

// TestStories runs testdata/*.txt: commands up to a line of ----, and what
// follows from them up to an empty line. A story has a Client, of process 7 of
// node n1, and a Batcher, of the leader; the commands are those of
// story.commands. What happens is printed in the order of its names, since the
// order of goroutines is open.
func TestStories(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no stories")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { runStory(t, file) })
		})
	}
}

func runStory(t *testing.T, file string) {
	told, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newStory(t)
	var got strings.Builder
	for i, scene := range strings.Split(strings.TrimSpace(string(told)), "\n\n") {
		commands, _, _ := strings.Cut(scene, "\n----")
		out := strings.TrimSpace(commands + "\n----\n" + s.tell(commands))
		fmt.Fprintf(&got, "%s\n\n", out)
		if !*update && out != strings.TrimSpace(scene) {
			t.Errorf("scene %d: got\n%s\nwant\n%s", i+1, out, scene)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimSpace(got.String())+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type story struct {
	*testing.T
	client  *Client
	batcher *Batcher
	end     context.CancelFunc // of the client

	mu         sync.Mutex
	lines      []string
	leader     string
	term       uint64
	lost       bool                          // the quorum
	cancels    map[string]context.CancelFunc // of proposals, by name
	answers    map[string]func(error)        // of batches and calls that wait for the leader, by name
	entries    map[string]chan error         // of the log that wait for their commit, by name
	entryCount int
	batches    map[uint64]*storev1.Batch // of the client, by number
}

func newStory(t *testing.T) *story {
	s := &story{
		T: t, cancels: map[string]context.CancelFunc{}, answers: map[string]func(error){},
		entries: map[string]chan error{}, batches: map[uint64]*storev1.Batch{},
	}
	s.client = NewClient(ProcessID{"n1", 7}, ClientConfig{
		Leader: s.currentLeader, Submit: s.onSubmit, CallLeader: s.onCall,
		QuorumLost: func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.lost },
	})
	s.batcher = NewBatcher(BatcherConfig{
		Apply:    s.onEntry,
		OnCommit: func(term, _ uint64) { s.say("committed in term %d", term) },
		OnEntry:  func(int, time.Time) {},
		Leader:   func() string { return "n9" },
		Fatal:    func(err error) { s.say("fatal: %v", err) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	var running sync.WaitGroup
	running.Go(func() { s.client.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		for open := s.openEntries(); len(open) > 0; open = s.openEntries() {
			s.decide(open[0], raft.ErrRaftShutdown)
		}
		running.Wait()
		s.batcher.Wait()
	})
	return s
}

func (s *story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// tell runs commands, and returns what happens after each.
func (s *story) tell(commands string) string {
	var out strings.Builder
	for line := range strings.Lines(commands) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" {
			continue
		}
		command, ok := s.commands()[fields[0]]
		if !ok {
			s.Fatalf("no such command: %s", line)
		}
		command(fields[1:])
		synctest.Wait()
		s.mu.Lock()
		slices.Sort(s.lines)
		for _, l := range s.lines {
			fmt.Fprintln(&out, l)
		}
		s.lines = nil
		s.mu.Unlock()
	}
	return out.String()
}

func (s *story) commands() map[string]func(args []string) {
	return map[string]func([]string){
		"leader":   s.setLeader,                                             // leader NODE TERM: leads; - is nobody
		"quorum":   func(a []string) { s.setLost(a[0] == "lost") },          // quorum lost|back
		"propose":  func(a []string) { s.propose(a[0], accounts(a[1:])) },   // propose NAME ACCOUNT...
		"many":     func(a []string) { s.propose(a[0], numbered(s, a[1])) }, // many NAME COUNT
		"abandon":  func(a []string) { s.cancels[a[0]]() },                  // abandon NAME: whoever proposed it waits no longer
		"answer":   func(a []string) { s.answers[a[0]](s.errorOf(a[1])) },   // answer BATCH|call ok|unavailable|unknown
		"applied":  s.applied,                                               // applied TERM BATCH...: an entry is in this node's table
		"restored": func([]string) { s.client.OnRestored() },
		"pass":     s.pass, // pass DURATION
		"shutdown": func([]string) { s.end() },

		"lead":   func(a []string) { s.batcher.Start(s.number(a[0])) }, // lead TERM
		"follow": func([]string) { s.batcher.Stop() },
		"submit": s.submit, // submit NODE BATCH TERM ACCOUNT...
		"commit": func(a []string) { s.decide(a[0], nil) },
		"lose":   func(a []string) { s.decide(a[0], raft.ErrLeadershipLost) },
		"refuse": func(a []string) { s.decide(a[0], raft.ErrNotLeader) },
	}
}

func (s *story) number(word string) uint64 {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *story) errorOf(word string) error {
	switch word {
	case "ok":
		return nil
	case "unavailable":
		return peerrpc.Unavailable("it could not be sent")
	case "unknown":
		return peerrpc.Unknown("the connection broke")
	}
	s.Fatalf("no such answer: %s", word)
	return nil
}

func (s *story) pass(args []string) {
	d, err := time.ParseDuration(args[0])
	if err != nil {
		s.Fatal(err)
	}
	<-time.After(d)
}

// The client's side.

func (s *story) setLeader(args []string) {
	s.mu.Lock()
	s.leader, s.term = strings.TrimPrefix(args[0], "-"), 0
	if s.leader != "" {
		s.term = s.number(args[1])
	}
	s.mu.Unlock()
	s.client.Wake()
}

func (s *story) currentLeader() (string, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leader, s.term
}

func (s *story) setLost(lost bool) {
	s.mu.Lock()
	s.lost = lost
	s.mu.Unlock()
	s.client.Wake()
}

func accounts(names []string) (changes []*storev1.Change) {
	for _, name := range names {
		changes = append(changes, account(name))
	}
	return changes
}

func numbered(s *story, count string) (changes []*storev1.Change) {
	for i := range s.number(count) {
		changes = append(changes, account(fmt.Sprintf("u%d", i+1)))
	}
	return changes
}

func (s *story) propose(name string, changes []*storev1.Change) {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancels[name] = cancel
	go func() {
		results, err := s.client.Propose(ctx, changes)
		s.say("%s: %s", name, outcome(len(results), err))
	}()
}

// outcome says which of the three outcomes an error is.
func outcome(done int, err error) string {
	switch {
	case err == nil:
		return fmt.Sprintf("done, %d changes", done)
	case errors.Is(err, peerrpc.ErrUnknown):
		return fmt.Sprint("unknown: ", err)
	case errors.Is(err, peerrpc.ErrUnavailable):
		return fmt.Sprint("not done: ", err)
	}
	return err.Error()
}

// describe names a batch, and says what is in it.
func describe(b *storev1.Batch) string {
	var names []string
	for _, c := range b.Change {
		names = append(names, c.GetPutAccount().GetAddress())
	}
	what := strings.Join(names, " ")
	if len(names) > 4 {
		what = fmt.Sprintf("%s ... %s (%d)", names[0], names[len(names)-1], len(names))
	}
	return strings.TrimSpace(fmt.Sprintf("batch %d of term %d: %s", b.Number, b.Term, what))
}

func (s *story) onSubmit(b *storev1.Batch, done func(error)) {
	s.say("submitted %s", describe(b))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches[b.Number], s.answers[fmt.Sprint(b.Number)] = b, done
}

func (s *story) onCall(ctx context.Context, leader string, batches []*storev1.Batch) error {
	for _, b := range batches {
		s.say("sent to %s: %s", leader, describe(b))
		s.mu.Lock()
		s.batches[b.Number] = b
		s.mu.Unlock()
	}
	answer := make(chan error, 1)
	s.mu.Lock()
	s.answers["call"] = func(err error) { answer <- err }
	s.mu.Unlock()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		s.say("the call to %s ends: %v", leader, ctx.Err())
		return peerrpc.Unknown("no answer: %w", ctx.Err())
	}
}

func (s *story) applied(args []string) {
	var results []store.BatchResult
	for _, number := range args[1:] {
		b := s.batches[s.number(number)]
		if b == nil {
			s.Fatalf("no batch %s has been sent", number)
		}
		results = append(results, store.BatchResult{
			Origin: b.Origin, Incarnation: b.Incarnation, Number: b.Number, Results: make([]store.Result, len(b.Change)),
		})
	}
	s.client.OnApplied(s.number(args[0]), results)
}

// The leader's side.

func (s *story) submit(args []string) {
	b := &storev1.Batch{Origin: args[0], Incarnation: 1, Number: s.number(args[1]), Term: s.number(args[2]), Change: accounts(args[3:])}
	s.batcher.Submit(b, func(err error) { s.say("batch %d of %s: %s", b.Number, b.Origin, outcome(len(b.Change), err)) })
}

// decide says what became of an entry.
func (s *story) decide(name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries[name] <- err
	delete(s.entries, name)
}

func (s *story) openEntries() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.entries))
}

// entry is what Raft says of an entry.
type entry struct{ verdict <-chan error }

func (e entry) Error() error  { return <-e.verdict }
func (e entry) Response() any { return nil }
func (e entry) Index() uint64 { return 0 }

// onEntry names entries a, b, c and so on.
func (s *story) onEntry(cmd []byte, _ time.Duration) raft.ApplyFuture {
	e, err := store.DecodeEntry(cmd)
	if err != nil {
		s.Fatal(err)
	}
	var from []string
	for _, b := range e.Batch {
		from = append(from, fmt.Sprintf("%s/%d", b.Origin, b.Number))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := string(rune('a' + s.entryCount))
	s.entryCount++
	verdict := make(chan error, 1)
	s.entries[name] = verdict
	s.lines = append(s.lines, fmt.Sprintf("entry %s: %s", name, strings.Join(from, " ")))
	return entry{verdict}
}
