package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// report holds the results of a run.
type report struct {
	seed     uint64
	dir      string
	notes    map[string]int
	outcomes map[int]int // messages by status
	repeats  int
	received int
	refused  map[string]int
	faults   map[string]int
	asked    int // fresh queries
	looked   int // messages that ended with a confirmed look-up
	held     int // steps that the model was held against
	notices  int
	told     int // to consumers
	resets   int
	slowest  time.Duration
	lasted   time.Duration // from the first fault's beginning to the last one's end
	stalls   int
	stalled  time.Duration       // the longest
	wrong    map[string][]string // what was not as promised, by promise
}

func newReport(seed uint64, dir string) *report {
	return &report{
		seed: seed, dir: dir, notes: map[string]int{}, wrong: map[string][]string{},
		outcomes: map[int]int{}, refused: map[string]int{}, faults: map[string]int{},
	}
}

// shownOfEach limits how many of each kind of violation are printed.
const shownOfEach = 5

func (r *report) fail(promise, format string, args ...any) {
	r.wrong[promise] = append(r.wrong[promise], fmt.Sprintf(format, args...))
}

// count counts what happened.
func (r *report) count(h *history) {
	sumUp(r.refused, h.Refused)
	for _, m := range h.Sent {
		r.outcomes[m.Status]++
		if m.Again {
			r.repeats++
		}
	}
	for _, f := range h.Faults {
		r.faults[f.Kind]++
		r.slowest = max(r.slowest, f.End-f.Begun)
	}
	if n := len(h.Faults); n > 0 {
		r.lasted = h.Faults[n-1].End - h.Faults[0].Begun
	}
	for _, s := range h.Stalls {
		r.stalls, r.stalled = r.stalls+1, max(r.stalled, s.End-s.Begun)
	}
	r.received, r.asked = len(h.Receipts), len(h.Asked)
	for _, t := range h.Told {
		r.told += len(t)
	}
}

// add counts another run to this one's.
func (r *report) add(o *report) {
	sumUp(r.outcomes, o.outcomes)
	sumUp(r.refused, o.refused)
	sumUp(r.faults, o.faults)
	sumUp(r.notes, o.notes)
	for promise, all := range o.wrong {
		r.wrong[promise] = append(r.wrong[promise], all...)
	}
	r.repeats, r.received, r.asked, r.looked, r.held = r.repeats+o.repeats, r.received+o.received, r.asked+o.asked, r.looked+o.looked, r.held+o.held
	r.notices, r.told, r.resets, r.stalls = r.notices+o.notices, r.told+o.told, r.resets+o.resets, r.stalls+o.stalls
	r.lasted, r.slowest, r.stalled = r.lasted+o.lasted, max(r.slowest, o.slowest), max(r.stalled, o.stalled)
}

func sumUp[K comparable](to, from map[K]int) {
	for k, n := range from {
		to[k] += n
	}
}

// sum tells what came of several runs.
func (r *report) sum(w io.Writer, rounds int) {
	if rounds > 1 {
		fmt.Fprintf(w, "in all %d rounds, %d faults in %.1f minutes\n", rounds, total(r.faults), r.lasted.Minutes())
		r.tell(w)
	}
}

// vacuity: a run in which little happened shows nothing.
func (r *report) vacuity(p plan) {
	seconds, faults := int(p.length/time.Second), 2
	if p.shared {
		seconds /= 5
		faults = 1 // it may take the whole run until all is well again
	}
	for what, least := range map[string][2]int{
		"messages delivered":     {r.outcomes[200], 50 * seconds},
		"messages not delivered": {r.outcomes[480], 10 * seconds},
		"messages in doubt":      {r.outcomes[201], 1},
		"fresh queries":          {r.asked, 20 * seconds},
		"notices to watchers":    {r.notices, 20 * seconds},
		"changes to consumers":   {r.told, 10 * seconds},
		"faults":                 {total(r.faults), faults},
	} {
		if least[0] < least[1] {
			r.fail("the run is void", "%d %s, and at least %d are wanted", least[0], what, least[1])
		}
	}
}

// print tells what came of the run.
func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "seed %d:\n", r.seed)
	r.tell(w)
	if len(r.wrong) > 0 {
		fmt.Fprintf(w, "  logs, data and history: %s\n", r.dir)
	}
}

func (r *report) tell(w io.Writer) {
	fmt.Fprintf(w, "  %d messages (%s), %d of them repeats; %d receipts\n", total(r.outcomes), list(r.outcomes), r.repeats, r.received)
	fmt.Fprintf(w, "  %d fresh queries, %d confirmed refusals, %d steps of who holds a session, %d notices, %d to programs (%d resets)\n", r.asked, r.looked, r.held, r.notices, r.told, r.resets)
	fmt.Fprintf(w, "  faults: %s; the longest until all was whole again: %.1f s; the machine itself stood still %d times, at most %.1f s\n",
		list(r.faults), r.slowest.Seconds(), r.stalls, r.stalled.Seconds())
	if len(r.notes) > 0 {
		fmt.Fprintf(w, "  %s\n", list(r.notes))
	}
	fmt.Fprintf(w, "  other refusals: %s\n", list(r.refused))
	for _, promise := range slices.Sorted(maps.Keys(r.wrong)) {
		all := r.wrong[promise]
		fmt.Fprintf(w, "  WRONG: %s: %d times\n", promise, len(all))
		for _, what := range all[:min(len(all), shownOfEach)] {
			fmt.Fprintf(w, "    %s\n", what)
		}
	}
}

func total[K comparable](counts map[K]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func list[K int | string](counts map[K]int) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		name := fmt.Sprint(k)
		if name == "0" {
			name = "lost"
		}
		all = append(all, fmt.Sprintf("%s %d", name, counts[k]))
	}
	return strings.Join(all, ", ")
}

// write writes the history for a later look.
func (h *history) write(file string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return json.NewEncoder(f).Encode(h)
}
