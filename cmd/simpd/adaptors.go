package main

import (
	"context"

	"simpd/cluster/router"
	"simpd/protocol"
	"simpd/protocol/server"
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
