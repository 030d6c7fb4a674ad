package site

import (
	"sync"
	"testing"
)

// TestPortsAreGivenOnce: however many ask at once, none is told another's port.
func TestPortsAreGivenOnce(t *testing.T) {
	var (
		mu    sync.Mutex
		given = map[int]bool{}
		work  sync.WaitGroup
	)
	for range 20 {
		work.Go(func() {
			for range 20 {
				first := FreePorts(3)
				mu.Lock()
				for port := first; port < first+3; port++ {
					if given[port] {
						t.Errorf("port %d was given twice", port)
					}
					given[port] = true
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
}
