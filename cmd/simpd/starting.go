package main

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// How often a start that waits tries again, and how often it says so.
const (
	retryStart = 2 * time.Second
	remindWait = time.Minute
)

// starting follows a start: why the node is not there yet.
type starting struct {
	why     atomic.Pointer[string] // nil: it has started
	waiting func(why string)       // told when a wait begins; never nil
}

// begin has the node be one that starts.
func (s *starting) begin() { s.set("starting") }

func (s *starting) set(why string) { s.why.Store(&why) }

// end has the node be one that has started.
func (s *starting) end() { s.why.Store(nil) }

// Err returns why the node has not started yet, or nil.
func (s *starting) Err() error {
	if why := s.why.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// retryUntil calls try again and again for as long as it fails for a reason that
// passes without anybody changing the configuration, and returns what it fails
// for otherwise. The wait ends with the node's context. What is waited for is
// logged, again each minute, and is what /readyz answers.
func (n *node) retryUntil(try func(context.Context) error) error {
	reminder := time.NewTicker(remindWait)
	defer reminder.Stop()
	again := time.NewTicker(retryStart)
	defer again.Stop()
	waits := false
	for {
		err := try(n.ctx)
		if n.ctx.Err() != nil {
			return n.ctx.Err()
		}
		if !isTemporary(err) {
			if waits {
				n.starting.begin()
			}
			return err
		}
		n.starting.set("waiting to start: " + err.Error())
		if !waits {
			n.logger.Warn("waiting to start", "error", err, "retry_in", retryStart)
			n.starting.waiting(err.Error())
		}
		waits = true
		if err := n.pauseRetry(again.C, reminder.C, err); err != nil {
			return err
		}
	}
}

// pauseRetry returns when it is time to try again. It logs why on each reminder.
func (n *node) pauseRetry(again, reminder <-chan time.Time, why error) error {
	select {
	case <-reminder:
		n.logger.Warn("still waiting to start", "error", why)
	default:
	}
	select {
	case <-again:
		return nil
	case <-n.ctx.Done():
		return n.ctx.Err()
	}
}

// isTemporary reports whether an error at a start may end by itself: a name that is
// not in DNS yet or whose server does not answer, an address that this machine
// does not have yet, a certificate that is not valid yet.
func isTemporary(err error) bool {
	if _, ok := errors.AsType[notYetValidError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return true
	}
	return errors.Is(err, syscall.EADDRNOTAVAIL)
}
