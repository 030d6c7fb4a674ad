// Package loglimit keeps one cause from filling the log: the first line of a
// cause is written at once, and then at most one a minute, with the number of
// those that were left out.
//
// Lines are limited at the levels warn and error, and at info if they name the
// part of the program that they are of (the attribute part), as those of
// libraries do. All others are written as they come.
//
// A cause is told apart by the message, the part, and the node or site that a
// line names. Without a part, everything else counts too, but for numbers,
// addresses, and the error where the attribute cause says what it comes from.
package loglimit

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
)

// Interval is the time for which lines of a cause are left out.
const Interval = time.Minute

// LeftOut is the attribute that counts the lines that were left out since the
// last one of the same cause.
const LeftOut = "left_out"

const (
	maxVariants = 16   // causes that have the same message and part
	maxCauses   = 1024 // in all; what is beyond counts as one cause
	maxText     = 256  // octets of a message, or of a value, that tell causes apart
)

// Handler is a slog.Handler that leaves out lines. Any goroutine may use it.
type Handler struct {
	next   slog.Handler
	causes *causes
	attrs  []slog.Attr // of WithAttrs
}

// New returns a Handler that writes to next.
func New(next slog.Handler) *Handler {
	return &Handler{next: next, causes: &causes{of: map[cause]*pending{}, variants: map[subject]int{}}}
}

// Unlimited returns l without what New has added, for lines of which each has
// to be written: records, and answers to what an operator does.
func Unlimited(l *slog.Logger) *slog.Logger {
	if h, ok := l.Handler().(*Handler); ok {
		return slog.New(h.next)
	}
	return l
}

// Flush writes what is left out so far of each cause, as at the end of a process.
func Flush(l *slog.Logger) {
	if h, ok := l.Handler().(*Handler); ok {
		h.causes.flush()
	}
}

// Enabled reports whether lines of that level are written at all.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs returns a Handler whose lines have attrs too.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{next: h.next.WithAttrs(attrs), causes: h.causes, attrs: slices.Concat(h.attrs, attrs)}
}

// WithGroup returns a Handler whose lines have their attributes in a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{next: h.next.WithGroup(name), causes: h.causes, attrs: h.attrs}
}

// Handle writes a line, or counts it.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	c, limited := h.cause(r)
	if limited && !h.causes.admit(c, line{h.next, r}) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// subject is what lines are about: those of one may have several causes.
type subject struct{ message, part string }

// cause is what lines are counted by.
type cause struct {
	subject
	peer   string // the node or the site that they name
	detail string // what else they say, with # for numbers; none for lines of a part
}

// cause returns a line's cause, and whether it may be left out.
func (h *Handler) cause(r slog.Record) (c cause, limited bool) {
	c.message = normalize(r.Message)
	var detail []string
	explained := false
	note := func(a slog.Attr) bool {
		switch a.Key {
		case "part":
			c.part = a.Value.String()
		case "node", "peer", "server-id", "target", "domain":
			c.peer = a.Value.String()
		case "cause":
			explained = true
			fallthrough
		default:
			if !isAddress(a.Value) {
				detail = append(detail, a.Key+"="+normalize(a.Value.String()))
			}
		}
		return true
	}
	for _, a := range h.attrs {
		note(a)
	}
	r.Attrs(note)
	if explained {
		detail = slices.DeleteFunc(detail, func(s string) bool { return strings.HasPrefix(s, "error=") })
	}
	if c.part == "" {
		c.detail = strings.Join(detail, " ")
	}
	return c, r.Level >= slog.LevelWarn || r.Level >= slog.LevelInfo && c.part != ""
}

// isAddress reports whether a value is where something came from, which makes
// no other cause.
func isAddress(v slog.Value) bool {
	switch v.Any().(type) {
	case net.Addr, netip.AddrPort, netip.Addr:
		return true
	}
	return false
}

// normalize puts # for each number, as of a port or a time, and cuts off what is
// long. Digits that follow a letter belong to a name, such as n3.
func normalize(s string) string {
	var b strings.Builder
	s = s[:min(len(s), maxText)]
	var before rune
	for _, r := range s {
		switch {
		case !unicode.IsDigit(r) || unicode.IsLetter(before):
			b.WriteRune(r)
			if unicode.IsDigit(r) {
				continue // the name goes on
			}
		case before != '#':
			r = '#'
			b.WriteRune(r)
		default:
			continue
		}
		before = r
	}
	return b.String()
}

// causes are those of which lines may be left out now.
type causes struct {
	mu       sync.Mutex
	of       map[cause]*pending
	variants map[subject]int
}

// line is one that was not written yet.
type line struct {
	to     slog.Handler
	record slog.Record
}

// pending counts the lines of a cause.
type pending struct {
	leftOut int
	last    line
	timer   *time.Timer
}

// admit reports whether a line is written at once, and counts it if not.
func (cs *causes) admit(c cause, l line) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c = cs.bounded(c)
	if p := cs.of[c]; p != nil {
		p.leftOut++
		p.last = line{l.to, l.record.Clone()}
		return false
	}
	cs.of[c] = &pending{timer: time.AfterFunc(Interval, func() { cs.report(c) })}
	cs.variants[c.subject]++
	return true
}

// bounded returns the cause that a line counts as: where there are too many,
// one for all others.
func (cs *causes) bounded(c cause) cause {
	if cs.of[c] != nil {
		return c
	}
	if cs.variants[c.subject] >= maxVariants {
		c.peer, c.detail = "*", "*"
	}
	if len(cs.of) >= maxCauses {
		c = cause{subject: subject{"*", "*"}, peer: "*", detail: "*"}
	}
	return c
}

// report writes the newest line of a cause that was left out, and how many
// were. A cause of which none was is forgotten.
func (cs *causes) report(c cause) {
	cs.mu.Lock()
	p := cs.of[c]
	if p == nil {
		cs.mu.Unlock()
		return
	}
	last, leftOut := p.last, p.leftOut
	p.leftOut, p.last = 0, line{}
	if leftOut > 0 {
		p.timer.Reset(Interval)
	} else {
		cs.forget(c)
	}
	cs.mu.Unlock()
	last.write(leftOut)
}

// forget removes a cause; cs.mu is held.
func (cs *causes) forget(c cause) {
	delete(cs.of, c)
	if cs.variants[c.subject]--; cs.variants[c.subject] == 0 {
		delete(cs.variants, c.subject)
	}
}

// write writes a line, if there is one, with the time of now.
func (l line) write(leftOut int) {
	if leftOut == 0 {
		return
	}
	l.record.Time = time.Now()
	l.record.AddAttrs(slog.Int(LeftOut, leftOut))
	_ = l.to.Handle(context.Background(), l.record) // there is nobody to tell
}

func (cs *causes) flush() {
	cs.mu.Lock()
	var left []*pending
	for c, p := range cs.of {
		p.timer.Stop()
		left = append(left, p)
		cs.forget(c)
	}
	cs.mu.Unlock()
	for _, p := range left {
		p.last.write(p.leftOut)
	}
}
