package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"simpd/cmd/internal/cli"
)

// bar shows how far something has come, on a terminal only. Its methods may be
// called from any goroutine.
type bar struct {
	app  *app // nil: nothing is shown
	what string

	mu    sync.Mutex
	all   uint64 // 0: not known
	done  uint64
	shown time.Time
}

const (
	barWidth = 24
	barEvery = 100 * time.Millisecond
)

// newBar begins a bar on standard error.
func (a *app) newBar(what string, all uint64) *bar {
	b := &bar{what: cli.Escape(what), all: all}
	if a.term.isTerminal(a.errOut) && !a.printsJSON() && a.env("TERM") != "dumb" {
		b.app = a
	}
	return b
}

// add says that n more are done.
func (b *bar) add(n uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += n
	b.draw()
}

// set says how many are done.
func (b *bar) set(done uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = done
	b.draw()
}

// setTotal says how many there are, and how many of them are done.
func (b *bar) setTotal(all, done uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.done = all, done
	b.draw()
}

// erase takes the bar away.
func (b *bar) erase() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.app != nil {
		fmt.Fprint(b.app.errOut, "\r\x1b[K")
	}
}

func (b *bar) draw() {
	if b.app == nil || time.Since(b.shown) < barEvery && b.done < b.all {
		return
	}
	b.shown = time.Now()
	fmt.Fprint(b.app.errOut, "\r\x1b[K"+b.String())
}

// String draws the bar.
func (b *bar) String() string {
	if b.all == 0 {
		return fmt.Sprintf("%s  %d", b.what, b.done)
	}
	full := int(min(b.done, b.all) * barWidth / b.all)
	return fmt.Sprintf("%s [%s%s] %d of %d", b.what, strings.Repeat("#", full), strings.Repeat("-", barWidth-full), b.done, b.all)
}
