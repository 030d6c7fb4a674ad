package server

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// However many requests wait for other sites, they hold no later one up; above
// a limit they wait for one another.
func TestQuestionsToOtherSitesHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const all = 3*maxDetached + 1
		var j workQueue
		begun, answer := make(chan struct{}, all), make(chan struct{})
		for range all {
			j.add(func(context.Context) {
				j.detach(func(context.Context) {
					begun <- struct{}{}
					<-answer
				}, time.Now().Add(requestTime))
			}, time.Time{})
		}
		later := make(chan struct{})
		j.add(func(context.Context) { close(later) }, time.Time{})
		<-later
		synctest.Wait()
		if n := len(begun); n != maxDetached || j.isBusy() {
			t.Errorf("%d have begun", n)
		}
		close(answer)
		j.close()
		if n := len(begun); n != all || j.detached != nil {
			t.Errorf("%d of %d have begun; detached: %+v", n, all, j.detached)
		}
	})
}

// What waits to be detached ends with the connection, and with its own time.
func TestWaitingQuestionsEnd(t *testing.T) {
	for name, end := range map[string]func(*workQueue){
		"connection": (*workQueue).cancelAll,
		"time":       func(*workQueue) { time.Sleep(requestTime) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var j workQueue
				ended := make(chan struct{}, 2*maxDetached)
				j.add(func(context.Context) {
					for range cap(ended) {
						j.detach(func(ctx context.Context) {
							<-ctx.Done()
							ended <- struct{}{}
						}, time.Now().Add(requestTime))
					}
				}, time.Time{})
				synctest.Wait()
				started := time.Now()
				end(&j)
				synctest.Wait()
				if n := len(ended); n != cap(ended) {
					t.Errorf("%d have ended after %v", n, time.Since(started))
				}
				j.close()
			})
		})
	}
}
