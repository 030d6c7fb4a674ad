package server

import "sync"

// keyedSemaphore limits the holders of each key.
type keyedSemaphore struct {
	mu   sync.Mutex
	held map[string]int
}

// acquire reports whether fewer than most hold the key, and if so adds one.
func (c *keyedSemaphore) acquire(name string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[name] >= most {
		return false
	}
	if c.held == nil {
		c.held = make(map[string]int)
	}
	c.held[name]++
	return true
}

// release undoes acquire.
func (c *keyedSemaphore) release(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[name]--; c.held[name] == 0 {
		delete(c.held, name)
	}
}
