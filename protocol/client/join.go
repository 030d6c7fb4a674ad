package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// ErrJoinUncertain means that the answer to JOIN is not known: the account may
// have been created. Whether it was, a login tells.
var ErrJoinUncertain = errors.New("it is not known whether the account was created")

// Join creates the account of config.User with config.Password, by the code of
// an invitation (SIMP.md, section 4). The error is a *protocol.Error if the
// server refused, and wraps ErrNotSupported if the server knows no invitations.
// The account exists once Join has returned nil; Open logs in.
func Join(ctx context.Context, config Config, code string) error {
	dialsNames := config.Dial != nil
	config = config.withDefaults()
	if config.User.IsZero() || config.Password == "" {
		return errors.New("client: Config.User and Config.Password are required")
	}
	var running sync.WaitGroup
	defer running.Wait()
	j := &joiner{dialer: dialer{config: config, dialsNames: dialsNames, running: &running}, code: code}
	targets, err := j.targets(ctx)
	if err != nil {
		return err
	}
	o, err := j.connector(targets).ConnectAny(ctx, targets, func(conn net.Conn, t outbound.Target) (*outbound.Conn, error) {
		return j.open(ctx, t, conn)
	}, j.isFinal)
	if o != nil {
		_ = o.Close()
	}
	var refused *protocol.Error
	if err != nil && j.asked && !errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", ErrJoinUncertain, err)
	}
	return supportError(err)
}

// joiner creates one account.
type joiner struct {
	dialer
	code  string
	asked bool // a server was sent the request: no other is asked
}

// isFinal reports whether no other server is asked.
func (j *joiner) isFinal(err error) bool { return j.asked || isFinal(err) }

// open creates the account on a connection.
func (j *joiner) open(ctx context.Context, t outbound.Target, conn net.Conn) (*outbound.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	o := outbound.NewConn(conn, t)
	err := o.WithDeadline(ctx, func() error {
		if err := j.greet(ctx, o); err != nil {
			return err
		}
		return j.request(o)
	})
	if err != nil {
		return nil, fmt.Errorf("creating the account at %s: %w", t, err)
	}
	return o, nil
}

// request sends JOIN.
func (j *joiner) request(o *outbound.Conn) error {
	if o.TLS == nil && !o.IsLoopback() {
		return fmt.Errorf("%w to send the password in clear", errUnsafe)
	}
	j.asked = true
	_, err := o.ExchangeFinal("join", "JOIN", func(b []byte) []byte {
		b = protocol.AppendParam(b, "code", j.code)
		b = protocol.AppendParam(b, "ima", j.config.User.String())
		return outbound.AppendData(b, protocol.PreparePassword(j.config.Password))
	})
	return err
}
