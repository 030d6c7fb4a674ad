package api

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol/secretfile"
)

// Tokens are the bearer tokens of programs, read from a file that holds only
// their hashes. Each line is one token:
//
//	NAME sha256:HEX role=presence:read role=message:send as=@example.com until=2027-11-22T10:00:00Z
//
// HEX is the SHA-256 of the token, which is random and has at least 32
// characters. With until (RFC 3339) the token is refused from that time on.
// What follows # is a remark. A token that is taken out of the
// file is refused from the next Reload on, and streams that were opened with
// it end. Methods may be called from any goroutine.
type Tokens struct {
	reloading sync.Mutex
	path      string // under reloading
	now       atomic.Pointer[map[[sha256.Size]byte]*caller]
}

// minToken is the length below which a token could be guessed.
const minToken = 32

// LoadTokens reads a file of tokens, which must be as secretfile.Check wants
// it.
func LoadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	if err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reload reads the file again; on an error all stays as it was.
func (t *Tokens) Reload() error {
	t.reloading.Lock()
	defer t.reloading.Unlock()
	return t.reloadFile(t.path)
}

// ReloadFrom is Reload from another file, which Reload then reads too. On an
// error all stays as it was.
func (t *Tokens) ReloadFrom(path string) error {
	t.reloading.Lock()
	defer t.reloading.Unlock()
	return t.reloadFile(path)
}

// reloadFile takes what a file holds; t.reloading is held.
func (t *Tokens) reloadFile(path string) error {
	content, err := secretfile.Read(path)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	callers, err := readTokens(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("tokens: %s:%w", path, err)
	}
	t.path = path
	t.now.Store(&callers)
	return nil
}

func readTokens(r io.Reader) (map[[sha256.Size]byte]*caller, error) {
	callers := map[[sha256.Size]byte]*caller{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		hash, c, err := readToken(words)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		if callers[hash] != nil {
			return nil, fmt.Errorf("%d: %s has the token of %s", n, c.name, callers[hash].name)
		}
		callers[hash] = c
	}
	return callers, lines.Err()
}

func readToken(words []string) (hash [sha256.Size]byte, c *caller, err error) {
	c = &caller{name: words[0]}
	if len(words) < 2 {
		return hash, nil, errors.New("a line is NAME sha256:HEX role=…")
	}
	digits, ok := strings.CutPrefix(words[1], "sha256:")
	sum, err := hex.DecodeString(digits)
	if !ok || err != nil || len(sum) != len(hash) {
		return hash, nil, fmt.Errorf("%s: the second word is not sha256: and 64 hexadecimal digits", c.name)
	}
	copy(hash[:], sum)
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		if key == "until" {
			err = c.setEnd(value)
		} else {
			err = c.addGrant(key, value)
		}
		if err != nil {
			return hash, nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return hash, c, nil
}

// setEnd takes the end of a token, which is given once.
func (c *caller) setEnd(value string) error {
	end, err := time.Parse(time.RFC3339, value)
	switch {
	case err != nil:
		return fmt.Errorf("invalid until=%s: must be a time of RFC 3339, such as 2027-11-22T10:00:00Z", value)
	case !c.end.IsZero():
		return errors.New("until is given twice")
	}
	c.end = end
	return nil
}

// TokenEnd tells when a token expires.
type TokenEnd struct {
	Name string // of the program; several tokens may have the same
	Hash string // the first 16 hexadecimal digits of the token's hash
	End  time.Time
}

// Ends returns the tokens that have an end, in the order of their ends.
func (t *Tokens) Ends() (all []TokenEnd) {
	for hash, c := range *t.now.Load() {
		if !c.end.IsZero() {
			all = append(all, TokenEnd{c.name, hex.EncodeToString(hash[:8]), c.end})
		}
	}
	slices.SortFunc(all, func(a, b TokenEnd) int {
		return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Hash, b.Hash))
	})
	return all
}

// Lines returns the tokens as the lines of a file have them, in order. Two files
// that say the same have the same.
func (t *Tokens) Lines() (all []string) {
	for hash, c := range *t.now.Load() {
		as := make([]string, 0, len(c.as))
		for _, p := range c.as {
			as = append(as, p.String())
		}
		slices.Sort(as)
		all = append(all, fmt.Sprintf("%s sha256:%x roles=%d as=%s any=%t until=%d", c.name, hash, c.roles, strings.Join(as, ","), c.any, c.end.Unix()))
	}
	slices.Sort(all)
	return all
}

var (
	errToken      = errors.New("the token is not one of this site's")
	errTokenEnded = errors.New("the token has ended: its time is over")
)

// hasEnded reports whether the caller's token may not be used any more.
func (c *caller) hasEnded() bool { return !c.end.IsZero() && !time.Now().Before(c.end) }

// lookupToken returns whose token it is. The time it takes tells nothing of other
// tokens: what is compared are hashes.
func (t *Tokens) lookupToken(token string) (*caller, error) {
	if t == nil || len(token) < minToken {
		return nil, errToken
	}
	sum := sha256.Sum256([]byte(token))
	found := (*t.now.Load())[sum]
	switch {
	case found == nil:
		return nil, errToken
	case found.hasEnded():
		return nil, errTokenEnded
	}
	c := *found
	c.still = func() error {
		now := (*t.now.Load())[sum]
		switch {
		case now == nil || now.roles != found.roles || !slices.Equal(now.as, found.as):
			return errors.New("the token was taken back, or is for something else now; call again")
		case now.hasEnded():
			return errTokenEnded
		}
		return nil
	}
	return &c, nil
}
