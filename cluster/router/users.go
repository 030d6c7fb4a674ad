package router

import (
	"slices"
	"sync"

	"simpd/protocol"
	"simpd/store"
)

// receiver is the connection that holds a session, with the epoch of its
// binding.
type receiver struct {
	u     *Connection
	epoch uint64
}

// users indexes this node's authenticated connections by user and by session.
type users struct {
	mu        sync.RWMutex
	byAddress map[protocol.Address][]*Connection
	bySession map[uint64]receiver // by the session's number, which is unique on this node
	number    uint64
	count     int
}

func (s *users) init() {
	s.byAddress = map[protocol.Address][]*Connection{}
	s.bySession = map[uint64]receiver{}
}

func (s *users) add(u *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := u.client.User
	s.byAddress[a] = append(slices.Clip(s.byAddress[a]), u)
	s.count++
}

func (s *users) remove(u *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := u.client.User
	rest := slices.DeleteFunc(slices.Clone(s.byAddress[a]), func(o *Connection) bool { return o == u })
	if s.byAddress[a] = rest; len(rest) == 0 {
		delete(s.byAddress, a)
	}
	s.count--
}

// ofUser returns the connections of one user. The slice must not be changed.
func (s *users) ofUser(a protocol.Address) []*Connection {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byAddress[a]
}

func (s *users) all() []*Connection {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Connection, 0, s.count)
	for _, of := range s.byAddress {
		all = append(all, of...)
	}
	return all
}

// addSession makes u the receiver of a new session of this node.
func (s *users) addSession(u *Connection, node string, epoch uint64) store.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	id := store.Session{Node: node, Epoch: epoch, Number: s.number}
	s.bySession[s.number] = receiver{u, epoch}
	return id
}

func (s *users) removeSession(id store.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.bySession, id.Number)
}

// receiverOf returns the connection that holds a session of this node, or
// nil.
func (s *users) receiverOf(id store.Session) *Connection {
	s.mu.RLock()
	b := s.bySession[id.Number]
	s.mu.RUnlock()
	if b.epoch != id.Epoch {
		return nil
	}
	return b.u
}
