package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"simpd/protocol"
	"simpd/store"
)

// How long and how many copies of the table are kept for those who page.
const (
	pageLife    = time.Minute      // since the last page
	maxPageLife = 10 * time.Minute // in all: a copy holds what has changed since
	maxPages    = 64

	// maxPinned limits the octets that stay in memory for one copy, or for
	// one consumer that is told the table.
	maxPinned = 32 << 20

	behindPatience = time.Second // for this node to reach the position of another's token
)

// pages keeps the copies of the table that unfinished lists are read from, so
// that all pages of a list show one position. A copy is shared by all who
// began at its position, and let go a minute after its last use.
type pages struct {
	table *store.Table
	mu    sync.Mutex
	kept  map[store.Position]*keptView
}

type keptView struct {
	view   store.View
	begun  time.Time
	used   time.Time
	expiry *time.Timer
}

func newPages(t *store.Table) *pages {
	return &pages{table: t, kept: map[store.Position]*keptView{}}
}

// pageToken names the place at which a list continues. It is no secret and needs no seal: it
// shows nothing that its bearer may not list.
type pageToken struct {
	History string `json:"h"`
	Index   uint64 `json:"i"`
	Last    string `json:"l"` // the last address or id of the page before
	Request uint64 `json:"r"` // a hash of the request
}

// nextToken is the token for the page after last, and keeps v for it.
func (p *pages) nextToken(v store.View, last string, request proto.Message) string {
	p.keepView(v)
	t, _ := json.Marshal(pageToken{v.History(), v.Index(), last, requestHash(request)})
	return base64.RawURLEncoding.EncodeToString(t)
}

// resumeToken returns what a token of a list of addresses was given for. f is
// told of one that is wrong, and the error is of one whose copy of the table is
// gone.
func (p *pages) resumeToken(ctx context.Context, f *fields, token string, request proto.Message) (store.View, protocol.Address, error) {
	v, text, err := p.resumeAfter(ctx, f, token, request)
	if err != nil {
		return v, protocol.Address{}, err
	}
	last, err := protocol.ParseAddress(text)
	if err != nil {
		f.addViolation("page_token", "is not a token of this service")
	}
	return v, last, f.err()
}

// resumeAfter is resumeToken for any list: last is what nextToken was given.
func (p *pages) resumeAfter(ctx context.Context, f *fields, token string, request proto.Message) (v store.View, last string, err error) {
	var t pageToken
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	switch {
	case err != nil:
		f.addViolation("page_token", "is not a token of this service")
		return v, last, f.err()
	case t.Request != requestHash(request):
		f.addViolation("page_token", "is of a list with other fields; only page_size may change from page to page")
		return v, last, f.err()
	}
	at := store.Position{History: t.History, Index: t.Index}
	p.awaitPosition(ctx, at)
	v, err = p.viewAt(at)
	return v, t.Last, err
}

// awaitPosition gives a node that has not got as far as the one that gave a token a
// moment to do so: where nothing changes meanwhile the token is good there too.
func (p *pages) awaitPosition(ctx context.Context, at store.Position) {
	now := p.table.Position()
	if now.History != at.History || now.Index >= at.Index {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, behindPatience)
	defer cancel()
	_ = p.table.Wait(ctx, at.Index) // find tells whether it has
}

// requestHash is of what has to be the same from page to page.
func requestHash(m proto.Message) uint64 {
	m = proto.Clone(m)
	r, d := m.ProtoReflect(), m.ProtoReflect().Descriptor().Fields()
	for _, name := range []string{"page_token", "page_size", "fresh"} {
		if field := d.ByTextName(name); field != nil {
			r.Clear(field)
		}
	}
	h := fnv.New64a()
	h.Write([]byte(r.Descriptor().FullName()))
	octets, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	h.Write(octets)
	return h.Sum64()
}

func (p *pages) keepView(v store.View) {
	at := v.Position()
	p.mu.Lock()
	defer p.mu.Unlock()
	if k := p.kept[at]; k != nil {
		k.renew()
		return
	}
	p.dropCostlyLocked()
	if len(p.kept) >= maxPages {
		p.dropOldest()
	}
	k := &keptView{view: v, begun: time.Now(), used: time.Now()}
	k.expiry = time.AfterFunc(pageLife, func() { p.dropView(at, k) })
	p.kept[at] = k
}

func (k *keptView) renew() {
	k.used = time.Now()
	k.expiry.Reset(min(pageLife, time.Until(k.begun.Add(maxPageLife))))
}

func (p *pages) viewAt(at store.Position) (store.View, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.table.View()
	p.dropCostlyLocked()
	if k := p.kept[at]; k != nil && at.History == now.History() {
		k.renew()
		return k.view, nil
	}
	if now.Position() == at {
		return now, nil
	}
	return store.View{}, statusWithDetails(codes.Aborted, "the page token has expired: it is older than a minute, it is from another node or history, or too much has changed since; start the list again, and stay on one node", reasonPageTokenExpired.errorInfo())
}

func (p *pages) dropView(at store.Position, k *keptView) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept[at] == k {
		delete(p.kept, at)
	}
}

// dropCostlyLocked lets go of the copies that keep too much in memory. p.mu is
// held.
func (p *pages) dropCostlyLocked() {
	for at, k := range p.kept {
		if p.table.PinnedBy(k.view) > maxPinned {
			k.expiry.Stop()
			delete(p.kept, at)
		}
	}
}

func (p *pages) dropOldest() {
	var oldest store.Position
	for at, k := range p.kept {
		if first := p.kept[oldest]; first == nil || k.used.Before(first.used) {
			oldest = at
		}
	}
	p.kept[oldest].expiry.Stop()
	delete(p.kept, oldest)
}

// close lets go of everything.
func (p *pages) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, k := range p.kept {
		k.expiry.Stop()
		delete(p.kept, at)
	}
}
