package blockfeed

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"simpd/protocol"
)

// The bounds of a list.
const (
	MaxOctets  = 1 << 20
	MaxEntries = 20_000
	maxReason  = 256 // octets, as of operators' blocks

	// Ranges that are larger than these are taken for a mistake.
	minBits4 = 8
	minBits6 = 16
)

// Entry is one block of a list.
type Entry struct {
	Target  protocol.BlockTarget // in the form in which it compares
	Written protocol.BlockTarget // as the list has it, if that differs; for display
	Reason  string
	Until   time.Time // when it ends; zero: never
}

// List is what a list says.
type List struct {
	Entries []Entry // each target once
	LeftOut []LeftOut
}

// LeftOut is an entry that a feed may not have.
type LeftOut struct {
	Line   int
	Target string
	Why    string
}

// String describes the entry and why it is left out.
func (l LeftOut) String() string { return fmt.Sprintf("line %d: %s is %s", l.Line, l.Target, l.Why) }

// ParseList reads a list: a target in each line, which until=TIME and a reason may
// follow; # begins a comment. An error names the first line that is wrong. Of a
// target that is there twice the first line counts. domains are the site's own,
// which a feed can't block.
func ParseList(text []byte, domains []string) (List, error) {
	if len(text) > MaxOctets {
		return List{}, errTooLong
	}
	if !utf8.Valid(text) {
		return List{}, errors.New("the list is not UTF-8")
	}
	var l List
	seen := map[protocol.BlockTarget]bool{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		fields := fieldsOf(line)
		if len(fields) == 0 {
			continue
		}
		e, err := parseEntry(fields, domains)
		if err != nil {
			return List{}, fmt.Errorf("line %d: %w", n, err)
		}
		if seen[e.Target] {
			continue
		}
		if len(seen) == MaxEntries {
			return List{}, fmt.Errorf("line %d: the list has more than %d entries", n, MaxEntries)
		}
		seen[e.Target] = true
		if why := protectedBy(e.Target, domains); why != "" {
			l.LeftOut = append(l.LeftOut, LeftOut{n, e.Target.String(), why})
			continue
		}
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

var errTooLong = fmt.Errorf("the list is longer than %d octets", MaxOctets)

// fieldsOf returns the words of a line before its comment.
func fieldsOf(line string) []string {
	fields := strings.Fields(line)
	if i := slices.IndexFunc(fields, func(f string) bool { return strings.HasPrefix(f, "#") }); i >= 0 {
		return fields[:i]
	}
	return fields
}

func parseEntry(fields []string, domains []string) (e Entry, err error) {
	given, err := protocol.ParseBlockTarget(fields[0])
	if err != nil {
		return e, errors.New(textWithoutStatus(err))
	}
	if r, ok := given.Range(); ok && (r.Addr().Is4() && r.Bits() < minBits4 || r.Addr().Is6() && r.Bits() < minBits6) {
		return e, fmt.Errorf("the range %s is too large: a feed may block up to /%d of IPv4, /%d of IPv6", given, minBits4, minBits6)
	}
	own := isOwn(given, domains)
	if e.Target = given.Key(own); e.Target != given && !own {
		e.Written = given
	}
	rest := fields[1:]
	if len(rest) > 0 {
		if until, ok := strings.CutPrefix(rest[0], "until="); ok {
			if e.Until, err = time.Parse(time.RFC3339, until); err != nil || e.Until.UnixMilli() <= 0 {
				return e, fmt.Errorf("invalid until=%q: must be a time such as 2027-01-31T00:00:00Z", until)
			}
			e.Until = e.Until.UTC().Truncate(time.Millisecond)
			rest = rest[1:]
		}
	}
	e.Reason = strings.Join(rest, " ")
	if len(e.Reason) > maxReason || strings.ContainsFunc(e.Reason, unicode.IsControl) {
		return e, fmt.Errorf("invalid reason: must have at most %d octets, and no control characters", maxReason)
	}
	return e, nil
}

// isOwn reports whether a target is an address in one of the domains.
func isOwn(t protocol.BlockTarget, domains []string) bool {
	p, ok := t.Pattern()
	if !ok {
		return false
	}
	a, _ := p.Address()
	return slices.Contains(domains, a.Domain())
}

// protectedBy says why no feed may block a target; "" if it may.
func protectedBy(t protocol.BlockTarget, domains []string) string {
	if r, ok := t.Range(); ok {
		if r.Overlaps(loopback4) || r.Overlaps(loopback6) {
			return "loopback, where programs of the nodes' own machines come from"
		}
		return ""
	}
	p, _ := t.Pattern()
	if d, ok := p.Domain(); ok && slices.Contains(domains, d) {
		return "a domain of this site"
	}
	return ""
}

var (
	loopback4 = netip.MustParsePrefix("127.0.0.0/8")
	loopback6 = netip.MustParsePrefix("::1/128")
)

func textWithoutStatus(err error) string {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e.Text
	}
	return err.Error()
}

// Difference is what has to change so that a feed's blocks are those of a list.
type Difference struct {
	Add    []Entry // new, or with another reason or end
	New    int     // of Add
	Remove []protocol.BlockTarget
}

// Compare returns what makes blocks, by target, those of the list. What has ended
// by now does not count.
func (l *List) Compare(blocks map[protocol.BlockTarget]Entry, now time.Time) (d Difference) {
	wanted := map[protocol.BlockTarget]bool{}
	for _, e := range l.Entries {
		if !e.Until.IsZero() && !now.Before(e.Until) {
			continue
		}
		wanted[e.Target] = true
		old, exists := blocks[e.Target]
		if !exists {
			d.New++
		}
		if !exists || old.Reason != e.Reason || !old.Until.Equal(e.Until) {
			d.Add = append(d.Add, e)
		}
	}
	for target := range blocks {
		if !wanted[target] {
			d.Remove = append(d.Remove, target)
		}
	}
	slices.SortFunc(d.Remove, func(a, b protocol.BlockTarget) int { return strings.Compare(a.String(), b.String()) })
	return d
}
