package main

import (
	"net/http"
	"sync"
)

// clients are shared by attacks that make many calls on few connections.
type clients struct {
	mu  sync.Mutex
	all map[int]*http.Client
}

// of returns client number i, made at its first use.
func (c *clients) of(i int, make func() *http.Client) *http.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[int]*http.Client{}
	}
	if c.all[i] == nil {
		c.all[i] = make()
	}
	return c.all[i]
}

// shared holds what attacks of one kind of actor share; the first of them starts it.
type shared struct {
	once sync.Once
	err  error
}

func (s *shared) begin(start func() error) error {
	s.once.Do(func() { s.err = start() })
	return s.err
}
