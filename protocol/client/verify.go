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
	listPatience   = 6 * time.Second // a message waits so long for the sender's list; the sender waits 10 s
)

// recentLists are lists of keys that were fetched for messages. A list that was
// asked for when a message had arrived already holds every revocation before
// that message, so that it does for all messages that were waiting then.
type recentLists struct {
	received atomic.Uint64 // number of the newest message that has arrived
	handled  atomic.Uint64 // number of the message that OnMessage handles

	mu       sync.Mutex
	bySender map[protocol.Address]recentList
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

// Verify returns the state of a message that Config.OnMessage handles, and the
// list of the sender's keys if it has a signature. It asks the server for the
// list, unless it has done so since the message arrived, so that a key that was
// revoked before is not accepted. known is what the application remembers of
// the sender; a list that is accepted continues it. If the list can't be had
// within 6 s, the message is Bad, and the error in the verdict says why. It is
// to be called by Config.OnMessage.
func (c *Client) Verify(ctx context.Context, m *protocol.Message, known signature.Knowledge) (signature.Verdict, *signature.KeyList) {
	if !signature.HasSignature(m.Entity) {
		return signature.Verdict{State: signature.Unsigned}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	list := c.lists.find(m.From)
	var err error
	if list.KeyList == nil {
		list, err = c.fetchListFor(ctx, m.From, false)
	}
	v := c.classify(m, list.KeyList, known, err)
	if !list.fresh && (errors.Is(v.Err, signature.ErrRewritten) || errors.Is(v.Err, signature.ErrUnknownKey)) { // the node may lag behind another
		list, err = c.fetchListFor(ctx, m.From, true)
		v = c.classify(m, list.KeyList, known, err)
	}
	return v, list.KeyList
}

// fetchListFor fetches a sender's list, and keeps it for the messages that have
// arrived. If the server limits the rate of requests, it waits.
func (c *Client) fetchListFor(ctx context.Context, sender protocol.Address, fresh bool) (recentList, error) {
	for {
		covers := c.lists.received.Load()
		list, err := c.fetchKeysOf(ctx, sender, fresh)
		if err == nil {
			kept := recentList{list, covers, fresh}
			c.lists.add(sender, kept)
			return kept, nil
		}
		var refused *protocol.Error
		if !errors.As(err, &refused) || refused.Status != protocol.StatusSlowDown || !wait.Sleep(ctx, time.Duration(max(1, refused.Retry))*time.Second) {
			return recentList{}, err
		}
	}
}

// classify returns the verdict on a message, for which a list was fetched or
// could not be.
func (c *Client) classify(m *protocol.Message, list *signature.KeyList, known signature.Knowledge, err error) signature.Verdict {
	if err != nil {
		return signature.Verdict{State: signature.Bad, Err: fmt.Errorf("the keys of %s can't be had now: %w", m.From, err)}
	}
	return signature.Classify(signature.Message{
		From: canonical(m.From).String(), Recipient: c.CanonicalUser().String(), ID: m.ID, Time: m.Time, Entity: m.Entity,
		SameUser: sameUser,
	}, list, known)
}
