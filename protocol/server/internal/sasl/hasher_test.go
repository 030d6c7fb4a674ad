package sasl

import (
	"sync"
	"testing"
	"time"
)

// As many passwords are hashed at a time as there are processors.
func TestHashingIsLimited(t *testing.T) {
	h := NewHasher()
	for range cap(h) {
		h <- struct{}{}
	}
	var made sync.WaitGroup
	done := make(chan struct{})
	made.Go(func() {
		defer close(done)
		if _, err := h.NewCredentials("secret", 4096); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-done:
		t.Error("one more was hashed")
	case <-time.After(20 * time.Millisecond):
	}
	<-h
	made.Wait()
}
