package server

import "sync"

// counts counts things of the same name, up to a limit.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

// take counts one more, unless there are most already.
func (c *counts) take(name string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[name] >= most {
		return false
	}
	if c.of == nil {
		c.of = make(map[string]int)
	}
	c.of[name]++
	return true
}

// give counts one less.
func (c *counts) give(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[name]--; c.of[name] == 0 {
		delete(c.of, name)
	}
}
