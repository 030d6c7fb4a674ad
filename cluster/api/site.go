package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
	"simpd/store"
)

// Times of a call.
const (
	proposeTimeout = 10 * time.Second // until a change is acknowledged
	settleTimeout  = 5 * time.Second  // for all nodes to apply it
	confirmTimeout = 3 * time.Second  // for the leader's word
	cutOffTimeout  = 3 * time.Second  // out of touch for so long, presence can't be known
)

var errCutOff = unavailable(reasonCutOff, "this node has no contact to the majority; try another node")

// inTouch refuses what a node that is cut off can't know: with fresh at once.
func (c *Config) inTouch(fresh bool) error {
	lost := c.Directory.QuorumLostFor()
	if lost >= cutOffTimeout || fresh && lost > 0 {
		return errCutOff
	}
	return nil
}

// confirmTable waits for the leader's word that the table is up to date.
func (c *Config) confirmTable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	if err := c.Directory.ReadBarrier(ctx); err != nil {
		return unavailable(reasonNotConfirmed, "the leader did not confirm in time what this node knows; try again, or another node")
	}
	return nil
}

// tableView is a consistent copy of the table; of now, if it is to be fresh.
func (c *Config) tableView(ctx context.Context, fresh bool) (store.View, error) {
	if err := c.inTouch(fresh); err != nil {
		return store.View{}, err
	}
	if fresh {
		if err := c.confirmTable(ctx); err != nil {
			return store.View{}, err
		}
	}
	return c.Table.View(), nil
}

// proposeChanges has the site make changes; the first that is refused is the error.
func (c *Config) proposeChanges(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	results, err := c.Directory.Propose(ctx, changes...)
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		if r.Refusal != store.None {
			return results, &refused{r.Refusal, r.Detail}
		}
	}
	return results, nil
}

// proposeEverywhere makes changes in one proposal and waits until every node that is up has applied them,
// or the time for that is over: they are made all the same.
func (c *Config) proposeEverywhere(ctx context.Context, changes ...*storev1.Change) (*simpv1.Position, error) {
	results, err := c.proposeChanges(ctx, changes...)
	if err != nil {
		return nil, err
	}
	var index uint64
	for _, r := range results {
		index = max(index, r.Index)
	}
	c.awaitEverywhere(ctx, index)
	return &simpv1.Position{History: c.Table.History(), Index: index}, nil
}

func (c *Config) awaitEverywhere(ctx context.Context, index uint64) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if err := c.Directory.Applied(ctx, index, nil); err != nil {
		c.Logger.Info("a change is answered before every node has applied it", "index", index, "error", err)
	}
}

func positionOf(v store.View) *simpv1.Position {
	return &simpv1.Position{History: v.History(), Index: v.Index()}
}

// presenceMessage tells of one user; l is nil for one who does not listen.
func presenceMessage(a protocol.Address, l *store.Listener) *simpv1.Presence {
	if l == nil {
		return &simpv1.Presence{Ima: a.String(), State: simpv1.State_STATE_DEAF}
	}
	at := l.Presence()
	p := &simpv1.Presence{
		Ima: a.String(), State: stateMessage(at.State), Note: at.Note, Since: timestamppb.New(at.Since), Index: at.Index,
		Session: make([]*simpv1.Session, len(l.Bindings)),
	}
	for i := range l.Bindings {
		p.Session[i] = sessionMessage(&l.Bindings[i])
	}
	return p
}

func sessionMessage(b *store.Binding) *simpv1.Session {
	return &simpv1.Session{
		Id: b.Session.String(), Node: b.Session.Node, State: stateMessage(b.State), Note: b.Note,
		Since: timestamppb.New(b.Since), Agent: b.Agent, Client: b.Client,
	}
}

func stateMessage(s protocol.State) simpv1.State {
	switch s {
	case protocol.Deaf:
		return simpv1.State_STATE_DEAF
	case protocol.Available:
		return simpv1.State_STATE_AVAILABLE
	case protocol.Away:
		return simpv1.State_STATE_AWAY
	case protocol.Busy:
		return simpv1.State_STATE_BUSY
	}
	return simpv1.State_STATE_UNKNOWN
}

// onNode reports whether one of l's sessions is on the node; "" is any.
func onNode(l *store.Listener, node string) bool {
	for i := range l.Bindings {
		if node == "" || l.Bindings[i].Session.Node == node {
			return true
		}
	}
	return false
}

// inDomain reports whether a is of the domain; "" is any.
func inDomain(a protocol.Address, domain string) bool {
	return domain == "" || a.Domain() == domain
}
