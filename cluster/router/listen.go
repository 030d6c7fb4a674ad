package router

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// Listen binds the session, and returns once every node that is in touch with
// the majority finds it.
func (u *User) Listen(ctx context.Context, q protocol.ListenRequest) (session string, index uint64, err error) {
	begun := time.Now()
	session, index, err = u.listen(ctx, q)
	u.r.Measures.Listen.Since(begun)
	u.r.Measures.Listens.count(err)
	return session, index, err
}

func (u *User) listen(ctx context.Context, q protocol.ListenRequest) (string, uint64, error) {
	r := u.r
	epoch, err := r.epochs.wait(ctx, 0)
	if err != nil {
		return "", 0, unavailable(err)
	}
	id := r.users.enter(u, r.Node, epoch)
	u.mu.Lock()
	u.id, u.state, u.note = id, q.State, q.Note
	u.mu.Unlock()
	res, epoch, err := u.bind(ctx, q, epoch)
	if err == nil && q.Exclusive {
		err = r.awaitDisplaced(ctx, res)
	}
	if err != nil {
		r.users.leave(id)
		if errors.Is(err, ErrUncertain) {
			r.release.add(u.client.User, id) // end what may have come about
			err = unavailable(err)
		}
		return "", 0, err
	}
	return u.listens(id, epoch, res)
}

// awaitDisplaced returns once no session that an exclusive LISTEN displaced is
// handed a message any more.
func (r *Router) awaitDisplaced(ctx context.Context, res store.Result) error {
	nodes := nodesOf(res.Displaced)
	switch {
	case !res.Applied:
		nodes = nil // it was applied before, and whom it displaced is not told twice
	case len(nodes) == 0:
		return nil
	}
	if err := r.Directory.Applied(ctx, res.Index, nodes); err != nil {
		return errors.Join(ErrUncertain, err)
	}
	return nil
}

// bind proposes the binding, again if the node's epoch ended meanwhile, and
// returns the epoch in which it was made.
func (u *User) bind(ctx context.Context, q protocol.ListenRequest, epoch uint64) (store.Result, uint64, error) {
	for {
		u.mu.Lock()
		b := u.binding(epoch)
		u.mu.Unlock()
		b.Exclusive = q.Exclusive
		results, err := u.r.Directory.Propose(ctx, &storev1.Change{Kind: &storev1.Change_Bind{Bind: b}})
		if err != nil && !errors.Is(err, ErrUncertain) {
			err = unavailable(err)
		}
		if err != nil || results[0].Refusal == store.None {
			return first(results), epoch, err
		}
		if results[0].Refusal != store.EndedEpoch {
			return results[0], epoch, refused(results[0])
		}
		if epoch, err = u.r.epochs.wait(ctx, epoch); err != nil {
			return store.Result{}, 0, unavailable(err)
		}
	}
}

func first(results []store.Result) store.Result {
	if len(results) == 0 {
		return store.Result{}
	}
	return results[0]
}

// binding describes the session to the table. u.mu is held.
func (u *User) binding(epoch uint64) *storev1.Bind {
	return &storev1.Bind{
		Address: u.client.User.String(), Session: sessionProto(u.id), Epoch: epoch,
		State: stateProto(u.state), Note: u.note, Agent: u.client.Agent,
		Client: u.client.Remote.String(), Credential: u.credential,
	}
}

// listens notes that the session is bound, unless it has ended meanwhile.
func (u *User) listens(id store.Session, epoch uint64, res store.Result) (string, uint64, error) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		u.r.users.leave(id)
		u.r.release.add(u.client.User, id)
		return "", 0, protocol.Errorf(protocol.StatusUnavailable, "the connection has ended")
	}
	u.listening, u.epoch, u.bound = true, epoch, res.Bound
	u.checkBinding()
	u.mu.Unlock()
	if now := u.r.epochs.now(); now != epoch {
		u.r.rebind(u.r.ctx, now, []*User{u}) // the others were bound again while it waited
	}
	return id.String(), res.Index, nil
}

// SetState changes what watchers see.
func (u *User) SetState(ctx context.Context, s protocol.State, note *string) (uint64, error) {
	u.mu.Lock()
	if !u.listening {
		u.mu.Unlock()
		return 0, notListening()
	}
	id, epoch := u.id, u.epoch
	u.state = s
	if note != nil {
		u.note = *note
	}
	u.mu.Unlock()
	for {
		res, err := u.r.propose(ctx, &storev1.Change{Kind: &storev1.Change_SetState{SetState: &storev1.SetState{
			Address: u.client.User.String(), Session: sessionProto(id), Epoch: epoch, State: stateProto(s), Note: note,
		}}})
		if res.Refusal != store.EndedEpoch {
			return res.Index, err
		}
		if epoch, err = u.r.epochs.wait(ctx, epoch); err != nil {
			return 0, unavailable(err)
		}
	}
}

func notListening() error {
	return protocol.Errorf(protocol.StatusWrongState, "this session does not listen")
}

// Unlisten ends listening. From its call on no message is handed to the session.
func (u *User) Unlisten(ctx context.Context) (uint64, error) {
	u.mu.Lock()
	if !u.listening {
		u.mu.Unlock()
		return 0, notListening()
	}
	u.listening = false
	u.mu.Unlock()
	u.r.users.leave(u.id)
	return u.r.release.wait(ctx, u.client.User, u.id)
}

// epochs is this node's present epoch, as far as its sessions are bound in it.
type epochs struct {
	mu      sync.Mutex
	epoch   uint64
	changed chan struct{}
}

func (e *epochs) init() { e.changed = make(chan struct{}) }

func (e *epochs) set(epoch uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.epoch = epoch
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *epochs) now() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.epoch
}

// wait returns the epoch once there is a later one than after.
func (e *epochs) wait(ctx context.Context, after uint64) (uint64, error) {
	for {
		e.mu.Lock()
		epoch, changed := e.epoch, e.changed
		e.mu.Unlock()
		if epoch > after {
			return epoch, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, errors.New("this node is not part of its site at the moment")
		}
	}
}

// Up says that this node has a new epoch: what it holds is bound again, in
// the background.
func (r *Router) Up(epoch uint64) {
	r.started.CompareAndSwap(nil, &store.Position{History: r.Table.History(), Index: epoch})
	r.running.Go(func() {
		var listening []*User
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
		r.epochs.set(epoch)
	})
}

// rebindBatch is how many sessions are bound again by one proposal.
const rebindBatch = 256

// rebind binds sessions again that live on after their node's epoch ended. It
// displaces nobody: who has lost the right to listen meanwhile is told.
func (r *Router) rebind(ctx context.Context, epoch uint64, listening []*User) {
	changes := make([]*storev1.Change, len(listening))
	for i, u := range listening {
		u.mu.Lock()
		b := u.binding(epoch)
		b.Rebind = u.bound
		u.mu.Unlock()
		changes[i] = &storev1.Change{Kind: &storev1.Change_Bind{Bind: b}}
	}
	results, err := r.Directory.Propose(ctx, changes...)
	for i, u := range listening {
		if err != nil {
			// The next epoch, or the end of the connections, mends it.
			r.Logger.Warn("sessions could not be bound again", "sessions", len(listening), "error", err)
			return
		}
		u.rebound(epoch, results[i])
	}
}

func (u *User) rebound(epoch uint64, res store.Result) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case !u.listening:
		u.r.release.add(u.client.User, u.id) // it ended while it was bound again
	case res.Refusal == store.EndedEpoch: // a newer epoch binds it
	case res.Refusal != store.None:
		u.displaced("this node was cut off meanwhile: " + reason(res))
	default:
		u.epoch = epoch
		u.checkBinding()
	}
}

func nodesOf(bindings []store.Binding) []string {
	var nodes []string
	for i := range bindings {
		nodes = append(nodes, bindings[i].Session.Node)
	}
	return nodes
}

func sessionProto(s store.Session) *storev1.Session {
	return &storev1.Session{Node: s.Node, Epoch: s.Epoch, Number: s.Number}
}

func stateProto(s protocol.State) storev1.State { return storev1.State(s) }

// has reports whether session id is among l's; l may be nil.
func has(l *store.Listener, id store.Session) bool {
	return l != nil && slices.ContainsFunc(l.Bindings, func(b store.Binding) bool { return b.Session == id })
}
