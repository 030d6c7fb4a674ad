package main

import (
	"context"
	"errors"
	"fmt"

	"simpd/cluster"
	"simpd/cluster/router"
	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/protocol/server"
	"simpd/store"
)

// backend is the router as the connections see it.
type backend struct {
	*router.Router
	refuse func() string
}

func (b backend) Greeting() server.Greeting {
	return server.Greeting{History: b.History(), Refuse: b.refuse()}
}

func (b backend) Login(ctx context.Context, s protocol.Session) (server.User, error) {
	u, err := b.Router.Login(ctx, s)
	if err != nil {
		return nil, err // not u: a nil *User is no nil User
	}
	return u, nil
}

// directory is the cluster as the router sees it. The two need each other, so
// that the node is filled in once both are there; nothing asks before.
type directory struct{ *cluster.Node }

// Propose marks the errors after which a change may yet come about.
func (d *directory) Propose(ctx context.Context, changes ...*storev1.Change) ([]store.Result, error) {
	results, err := d.Node.Propose(ctx, changes...)
	if errors.Is(err, cluster.ErrUnknown) {
		err = fmt.Errorf("%w: %w", router.ErrUncertain, err)
	}
	return results, err
}
