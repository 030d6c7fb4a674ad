package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
	"simpd/protocol/wait"
)

const (
	maxRecentLists = 64              // senders whose list is kept for messages that wait
	listPatience   = 3 * time.Second // a message waits so long for the sender's list; the sender waits 10 s

	// After a failure, the lists of that domain are not asked for three times as
	// long as the failure took, within these bounds.
	minListRest = 500 * time.Millisecond
	maxListRest = 10 * time.Second
)

// recentLists are lists of keys that were fetched for messages. A list that was
// asked for when a message had arrived already holds every revocation before
// that message, so that it does for all messages that were waiting then.
type recentLists struct {
	received atomic.Uint64 // number of the newest message that has arrived
	handled  atomic.Uint64 // number of the message that OnMessage handles

	mu       sync.Mutex
	bySender map[protocol.Address]recentList
	failures map[string]listFailure // by domain
}

// listFailure is why a domain's lists could not be fetched.
type listFailure struct {
	err   error
	until time.Time
}

type recentList struct {
	*signature.KeyList
	covers uint64 // messages up to this number
	fresh  bool   // it has every change that was acknowledged before
}

// find returns the list for a message of sender that is handled now; none if
// it has to be fetched.
func (l *recentLists) find(sender protocol.Address) recentList {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.handled.Load(); now > 0 && now <= l.bySender[sender].covers {
		return l.bySender[sender]
	}
	return recentList{}
}

func (l *recentLists) add(sender protocol.Address, list recentList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bySender == nil || len(l.bySender) >= maxRecentLists {
		l.bySender = make(map[protocol.Address]recentList)
	}
	l.bySender[sender] = list
}

// fail remembers that lists of a domain can't be had, which took so long to find
// out, so that a site that does not answer holds up the messages of others once,
// not each time.
func (l *recentLists) fail(domain string, err error, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures == nil || len(l.failures) >= maxRecentLists {
		l.failures = make(map[string]listFailure)
	}
	l.failures[domain] = listFailure{err, time.Now().Add(min(max(3*took, minListRest), maxListRest))}
}

func (l *recentLists) failure(domain string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.failures[domain]; time.Now().Before(f.until) {
		return f.err
	}
	return nil
}

// Verify returns the state of a message that Config.OnMessage handles, and the
// list of the sender's keys if it has a signature. It asks the server for the
// list, unless it has done so since the message arrived. known is what the
// application remembers of the sender; a list that is accepted continues it.
// If the list can't be fetched within 3 s, the message is Unverified, and the
// error in the verdict says why: ErrClosed if the client is being closed. If
// the server sends a list that contradicts itself, the message is Bad, with
// ErrBadKeyList. Verify is to be called by Config.OnMessage.
func (c *Client) Verify(ctx context.Context, m *protocol.Message, known signature.Knowledge) (signature.Verdict, *signature.KeyList) {
	received := signature.Message{
		From: canonical(m.From).String(), Recipient: c.CanonicalUser().String(), ID: m.ID, Time: m.Time, Entity: m.Entity, SameUser: sameUser,
	}
	if !signature.HasSignature(m.Entity) {
		return signature.Verdict{State: signature.Unsigned}, nil
	}
	if err := signature.Check(received); err != nil {
		return signature.Verdict{State: signature.Bad, Err: err}, nil
	}
	list, err := c.listFor(ctx, m.From)
	if err != nil {
		return withoutList(m, err), nil
	}
	v := signature.Classify(received, list.KeyList, known)
	if !list.fresh && (errors.Is(v.Err, signature.ErrRewritten) || errors.Is(v.Err, signature.ErrUnknownKey)) { // the node may lag behind another
		if list, err = c.fetchListFor(ctx, m.From, true); err != nil {
			return withoutList(m, err), nil
		}
		v = signature.Classify(received, list.KeyList, known)
	}
	return v, list.KeyList
}

// withoutList returns the verdict on a message whose sender's list could not be
// had because of err.
func withoutList(m *protocol.Message, err error) signature.Verdict {
	if errors.Is(err, ErrBadKeyList) {
		return signature.Verdict{State: signature.Bad, Err: err}
	}
	return signature.Verdict{State: signature.Unverified, Err: fmt.Errorf("the keys of %s could not be fetched: %w", m.From, err)}
}

// listFor returns a sender's list for the message that is handled.
func (c *Client) listFor(ctx context.Context, sender protocol.Address) (recentList, error) {
	if list := c.lists.find(sender); list.KeyList != nil {
		return list, nil
	}
	if err := c.lists.failure(sender.Domain()); err != nil {
		return recentList{}, err
	}
	return c.fetchListFor(ctx, sender, false)
}

// fetchListFor fetches a sender's list, and keeps it for the messages that have
// arrived. If the server limits the rate of requests, it waits.
func (c *Client) fetchListFor(ctx context.Context, sender protocol.Address, fresh bool) (recentList, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	for {
		covers := c.lists.received.Load()
		list, err := c.fetchKeysOf(ctx, sender, fresh)
		if err == nil {
			kept := recentList{list, covers, fresh}
			c.lists.add(sender, kept)
			return kept, nil
		}
		var refused *protocol.Error
		if errors.As(err, &refused) && refused.Status == protocol.StatusSlowDown {
			if wait.Sleep(ctx, time.Duration(max(1, refused.Retry))*time.Second) {
				continue
			}
		} else if !errors.Is(err, ErrClosed) {
			c.lists.fail(sender.Domain(), err, time.Since(began))
		}
		return recentList{}, err
	}
}
