package store

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"slices"

	storev1 "simpd/proto/simp/store/v1"
)

// Console is what the nodes agree on about operators' consoles. It must not be
// changed.
type Console struct {
	// Generation counts revocations. Links and sessions of another generation
	// are void.
	Generation uint64
	// Secret is what the newest revocation brought: 32 random octets; nil before
	// the first. Whoever read a node's disk before it does not know it.
	Secret []byte
	used   []usedToken // in the order of their ends, and then of their ids
	// floor is the latest end, in milliseconds since 1970, of the used tokens
	// that were dropped: a token that ends then or before may be one of them.
	floor int64
}

// usedToken is a one-time token that was used.
type usedToken struct {
	id    string // consoleTokenOctets long
	until int64  // when the token ends, in milliseconds since 1970
}

const (
	// consoleSchema is the first schema with the console.
	consoleSchema = 5
	// consoleTokenOctets is the length of the id of a one-time token.
	consoleTokenOctets = 16
	// ConsoleSecretOctets is the length of the secret that a revocation brings.
	ConsoleSecretOctets = 32
	// maxUsedTokens limits the used tokens that are kept. They are kept until
	// they end, which is minutes.
	maxUsedTokens = 1024
	// maxTokenLife limits how far the end of a token may be ahead of the clock
	// of the proposer, in milliseconds: clocks may differ.
	maxTokenLife = 60 * 60 * 1000
)

// HasConsole reports whether the log may hold what consoles need.
func (t *Table) HasConsole() bool { return t.Schema() >= consoleSchema }

// ConsoleGeneration returns the generation of consoles' links and sessions.
func (t *Table) ConsoleGeneration() uint64 {
	generation, _ := t.ConsoleKey()
	return generation
}

// ConsoleKey returns the generation of consoles' links and sessions, and the
// secret of its own that their key is made of: nil before the first revocation.
// It must not be changed.
func (t *Table) ConsoleKey() (generation uint64, secret []byte) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if c := t.current.console; c != nil {
		return c.Generation, c.Secret
	}
	return 0, nil
}

func (c *Console) generation() uint64 {
	if c == nil {
		return 0
	}
	return c.Generation
}

// useConsoleToken marks a one-time token as used. It is applied once for each
// token, whichever nodes are asked.
func (t *Table) useConsoleToken(c *storev1.UseConsoleToken) Result {
	now := t.batchTime.UnixMilli()
	old := t.current.console
	token := usedToken{string(c.GetId()), c.GetUntilMs()}
	switch {
	case t.current.schema < consoleSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	case len(token.id) != consoleTokenOctets || token.until <= 0 || token.until > now+maxTokenLife:
		return refuse(Malformed, "a console token without an id or an end")
	case c.GetGeneration() != old.generation():
		return refuse(UsedToken, "all links to the console were revoked")
	case token.until <= now || old != nil && token.until <= old.floor:
		return refuse(UsedToken, "the link to the console has expired")
	}
	next := old.dropEnded(now)
	at, found := slices.BinarySearchFunc(next.used, token, compareToken)
	switch {
	case found:
		return refuse(UsedToken, "the link to the console was used already")
	case len(next.used) >= maxUsedTokens:
		return refuse(TooManyTokens, "%d links to the console were used within minutes", len(next.used))
	}
	next.used = slices.Insert(next.used, at, token)
	t.current.console = next
	return t.commitEvent(entry{kind: EventConsole})
}

// dropEnded returns a copy without the used tokens that have ended by that
// clock.
func (c *Console) dropEnded(now int64) *Console {
	next := &Console{}
	if c == nil {
		return next
	}
	next.Generation, next.Secret, next.floor = c.Generation, c.Secret, c.floor
	for _, u := range c.used {
		if u.until > now {
			next.used = append(next.used, u)
		} else {
			next.floor = max(next.floor, u.until)
		}
	}
	return next
}

func compareToken(a, b usedToken) int {
	return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.id, b.id))
}

// revokeConsole makes all links and sessions void.
func (t *Table) revokeConsole(c *storev1.RevokeConsole) Result {
	old := t.current.console
	switch {
	case t.current.schema < consoleSchema:
		return refuse(WrongSchema, "the site's schema is %d", t.current.schema)
	case len(c.GetSecret()) != ConsoleSecretOctets:
		return refuse(Malformed, "a revocation without a secret")
	case c.GetGeneration() != old.generation():
		return Result{} // they were revoked since: a retry, or another operator
	}
	next := old.dropEnded(t.batchTime.UnixMilli())
	next.Generation++
	next.Secret = bytes.Clone(c.GetSecret())
	t.current.console = next
	return t.commitEvent(entry{kind: EventConsole})
}

// consoleRecord returns the console as snapshots hold it.
func consoleRecord(c *Console) *storev1.Record {
	r := &storev1.Console{Generation: c.Generation, Secret: c.Secret, FloorMs: c.floor}
	for _, u := range c.used {
		r.Used = append(r.Used, &storev1.UsedConsoleToken{Id: []byte(u.id), UntilMs: u.until})
	}
	return &storev1.Record{Kind: &storev1.Record_Console{Console: r}}
}

// addConsole restores the console from a snapshot.
func (b *restorer) addConsole(record *storev1.Console) error {
	if err := b.checkOrder(partConsole, "console"); err != nil {
		return err
	}
	c := &Console{Generation: record.GetGeneration(), Secret: record.GetSecret(), floor: record.GetFloorMs()}
	ok := b.view.schema >= consoleSchema && len(record.GetUsed()) <= maxUsedTokens && c.floor >= 0
	ok = ok && (c.Generation == 0 && len(c.Secret) == 0 || c.Generation > 0 && len(c.Secret) == ConsoleSecretOctets)
	for i, u := range record.GetUsed() {
		token := usedToken{string(u.GetId()), u.GetUntilMs()}
		ok = ok && len(token.id) == consoleTokenOctets && (i == 0 || compareToken(c.used[i-1], token) < 0)
		c.used = append(c.used, token)
	}
	if !ok {
		return corrupt("the console")
	}
	b.view.console = c
	return nil
}

// addConsole hashes the console. A table without it, as before schema 5, keeps
// its old hash.
func (d *digester) addConsole(c *Console) {
	if c == nil {
		return
	}
	d.addString("console")
	d.addString(hex.EncodeToString(c.Secret))
	d.addNumbers(c.Generation, uint64(c.floor), uint64(len(c.used)))
	for _, u := range c.used {
		d.addString(hex.EncodeToString([]byte(u.id)))
		d.addNumbers(uint64(u.until))
	}
}
