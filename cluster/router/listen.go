package router

import (
	"context"
	"errors"
	"slices"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Listen binds the session, and returns once every node in contact with the
// majority can find it.
func (u *Connection) Listen(ctx context.Context, q protocol.ListenRequest) (session string, index uint64, err error) {
	begun := time.Now()
	session, index, err = u.bindSession(ctx, q)
	u.r.metrics.Listen.ObserveSince(begun)
	u.r.metrics.Listens.add(err)
	return session, index, err
}

func (u *Connection) bindSession(ctx context.Context, q protocol.ListenRequest) (string, uint64, error) {
	r := u.r
	epoch, err := r.awaitEpoch(ctx, 0)
	if err != nil {
		return "", 0, unavailableError(err)
	}
	id := r.users.addSession(u, r.config.Node, epoch)
	u.mu.Lock()
	u.sessionID, u.state, u.note = id, q.State, q.Note
	u.mu.Unlock()
	res, epoch, err := u.proposeBinding(ctx, q, epoch)
	if err == nil && q.Exclusive {
		err = r.awaitDisplaced(ctx, res)
	}
	if err != nil {
		r.users.removeSession(id)
		if errors.Is(err, store.ErrUnknown) {
			r.unbinder.enqueue(u.client.User, id) // the binding may exist
			err = unavailableError(err)
		}
		return "", 0, err
	}
	return u.onBound(id, epoch, res)
}

// awaitDisplaced returns when no session that an exclusive LISTEN displaced
// can receive a message any more.
func (r *Router) awaitDisplaced(ctx context.Context, res store.Result) error {
	nodes := nodesOf(res.Displaced)
	switch {
	case !res.Applied:
		nodes = nil // it was applied before; the displaced sessions were notified then
	case len(nodes) == 0:
		return nil
	}
	if err := r.directory.Applied(ctx, res.Index, nodes); err != nil {
		return errors.Join(store.ErrUnknown, err)
	}
	return nil
}

// proposeBinding proposes the binding, again if the node's epoch has ended
// meanwhile, and returns the epoch in which it was made.
func (u *Connection) proposeBinding(ctx context.Context, q protocol.ListenRequest, epoch uint64) (store.Result, uint64, error) {
	for {
		u.mu.Lock()
		b := u.bindingLocked(epoch)
		u.mu.Unlock()
		b.Exclusive = q.Exclusive
		results, err := u.r.directory.Propose(ctx, &storev1.Change{Kind: &storev1.Change_Bind{Bind: b}})
		if err != nil && !errors.Is(err, store.ErrUnknown) {
			err = unavailableError(err)
		}
		if err != nil || results[0].Refusal == store.None {
			return firstResult(results), epoch, err
		}
		if results[0].Refusal != store.EndedEpoch {
			return results[0], epoch, refusalError(results[0])
		}
		if epoch, err = u.r.awaitEpoch(ctx, epoch); err != nil {
			return store.Result{}, 0, unavailableError(err)
		}
	}
}

func firstResult(results []store.Result) store.Result {
	if len(results) == 0 {
		return store.Result{}
	}
	return results[0]
}

// bindingLocked returns the session's binding as a change of the table.
func (u *Connection) bindingLocked(epoch uint64) *storev1.Bind {
	return &storev1.Bind{
		Address: u.client.User.String(), Session: store.SessionProto(u.sessionID), Epoch: epoch,
		State: store.StateProto(u.state), Note: u.note, Agent: u.client.Agent,
		Client: u.client.Remote.String(), Credential: u.credential,
		AppPassword: u.client.AppPassword(),
	}
}

// onBound records that the session is bound, or unbinds it if the connection
// has ended meanwhile.
func (u *Connection) onBound(id store.Session, epoch uint64, res store.Result) (string, uint64, error) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		u.r.users.removeSession(id)
		u.r.unbinder.enqueue(u.client.User, id)
		return "", 0, protocol.Errorf(protocol.StatusUnavailable, "the connection has ended")
	}
	u.listening, u.epoch, u.boundIndex = true, epoch, res.FirstBound
	u.checkBindingLocked()
	u.mu.Unlock()
	if now := u.r.epoch.Value(); now != epoch {
		u.r.rebind(u.r.ctx, now, []*Connection{u}) // the other sessions were bound again meanwhile
	}
	return id.String(), res.Index, nil
}

// SetState changes the state and, unless it is nil, the note that watchers
// see.
func (u *Connection) SetState(ctx context.Context, s protocol.State, note *string) (uint64, error) {
	u.mu.Lock()
	if !u.listening {
		u.mu.Unlock()
		return 0, notListeningError()
	}
	id, epoch := u.sessionID, u.epoch
	u.state = s
	if note != nil {
		u.note = *note
	}
	u.mu.Unlock()
	for {
		res, err := u.r.proposeChange(ctx, &storev1.Change{Kind: &storev1.Change_SetState{SetState: &storev1.SetState{
			Address: u.client.User.String(), Session: store.SessionProto(id), Epoch: epoch, State: store.StateProto(s), Note: note,
		}}})
		if res.Refusal != store.EndedEpoch {
			return res.Index, err
		}
		if epoch, err = u.r.awaitEpoch(ctx, epoch); err != nil {
			return 0, unavailableError(err)
		}
	}
}

func notListeningError() error {
	return protocol.Errorf(protocol.StatusWrongState, "this session does not listen")
}

// Unlisten ends listening. No message is handed to the session from the
// moment of the call.
func (u *Connection) Unlisten(ctx context.Context) (uint64, error) {
	u.mu.Lock()
	if !u.listening {
		u.mu.Unlock()
		return 0, notListeningError()
	}
	u.listening = false
	u.mu.Unlock()
	u.r.users.removeSession(u.sessionID)
	return u.r.unbinder.unbind(ctx, u.client.User, u.sessionID)
}

// awaitEpoch returns the epoch of this node once it is greater than after.
func (r *Router) awaitEpoch(ctx context.Context, after uint64) (uint64, error) {
	if r.epoch.Await(ctx, after+1) != nil {
		return 0, errors.New("this node is not part of its site at the moment")
	}
	return r.epoch.Value(), nil
}

// Up reports a new epoch of this node. Its sessions are bound again in the
// background.
func (r *Router) Up(epoch uint64) {
	r.started.CompareAndSwap(nil, &store.Position{History: r.config.Table.History(), Index: epoch})
	r.running.Go(func() {
		var listening []*Connection
		for _, u := range r.users.all() {
			u.mu.Lock()
			if u.listening && u.epoch < epoch {
				listening = append(listening, u)
			}
			u.mu.Unlock()
		}
		for len(listening) > 0 && r.ctx.Err() == nil {
			n := min(len(listening), rebindBatch)
			r.rebind(r.ctx, epoch, listening[:n])
			listening = listening[n:]
		}
		r.epoch.Set(epoch)
	})
}

// rebindBatch is the number of sessions in one proposal.
const rebindBatch = 256

// rebind binds sessions that survived the end of their node's epoch. It
// displaces nobody: a session that has lost its right to listen meanwhile is
// told so.
func (r *Router) rebind(ctx context.Context, epoch uint64, listening []*Connection) {
	changes := make([]*storev1.Change, len(listening))
	for i, u := range listening {
		u.mu.Lock()
		b := u.bindingLocked(epoch)
		b.Rebind = u.boundIndex
		u.mu.Unlock()
		changes[i] = &storev1.Change{Kind: &storev1.Change_Bind{Bind: b}}
	}
	results, err := r.directory.Propose(ctx, changes...)
	for i, u := range listening {
		if err != nil {
			// The next epoch, or the end of the connections, repairs it.
			r.config.Logger.Warn("sessions could not be bound again", "sessions", len(listening), "error", err)
			return
		}
		u.onRebound(epoch, results[i])
	}
}

func (u *Connection) onRebound(epoch uint64, res store.Result) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.listening:
		u.r.unbinder.enqueue(u.client.User, u.sessionID) // it ended during the rebind
	case res.Refusal == store.EndedEpoch: // a newer epoch binds it
	case res.Refusal != store.None:
		u.onDisplacedLocked("this node was cut off meanwhile: " + refusalText(res))
	default:
		u.epoch = epoch
		u.checkBindingLocked()
	}
}

func nodesOf(bindings []store.Binding) []string {
	var nodes []string
	for i := range bindings {
		nodes = append(nodes, bindings[i].Session.Node)
	}
	return nodes
}

// hasBinding reports whether l has a binding of session id. l may be nil.
func hasBinding(l *store.Listener, id store.Session) bool {
	return l != nil && slices.ContainsFunc(l.Bindings, func(b store.Binding) bool { return b.Session == id })
}
