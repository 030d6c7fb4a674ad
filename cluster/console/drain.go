package console

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	simpv1 "simpd/proto/simp/v1"
)

// drainProgress is how far a drain has come that was asked for at this node's
// console.
type drainProgress struct {
	Total uint64    `json:"total"`
	Left  uint64    `json:"left"`
	Done  bool      `json:"done"`
	Error string    `json:"error,omitempty"`
	ended time.Time // zero: it is under way
}

// drains holds the newest drain of each node. Methods may be called from any
// goroutine.
type drains struct {
	mu sync.Mutex
	of map[string]*drainProgress
}

const (
	// maxDrains limits the nodes whose drains are kept.
	maxDrains = 64
	// showEnded is how long a drain that has ended is shown.
	showEnded = 5 * time.Minute
)

// list returns how far the drains have come that are under way, or have ended
// lately.
func (d *drains) list() map[string]drainProgress {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropEndedLocked()
	all := map[string]drainProgress{}
	for node, p := range d.of {
		all[node] = *p
	}
	return all
}

func (d *drains) dropEndedLocked() {
	maps.DeleteFunc(d.of, func(_ string, p *drainProgress) bool { return !p.ended.IsZero() && time.Since(p.ended) >= showEnded })
}

// begin adds a drain of the node, which is then set or dropped, or returns why
// it can't begin now.
func (d *drains) begin(node string) (*drainProgress, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropEndedLocked()
	p := d.of[node]
	if p != nil && p.ended.IsZero() {
		return nil, status.Error(codes.FailedPrecondition, "a drain of this node is under way")
	}
	if p == nil && len(d.of) >= maxDrains && !d.dropOldestLocked() {
		return nil, status.Error(codes.ResourceExhausted, "too many drains are under way at this console")
	}
	d.of[node] = &drainProgress{}
	return d.of[node], nil
}

// dropOldestLocked drops the drain that ended first, and reports whether there
// was one.
func (d *drains) dropOldestLocked() bool {
	oldest := ""
	for node, p := range d.of {
		if !p.ended.IsZero() && (oldest == "" || p.ended.Before(d.of[oldest].ended)) {
			oldest = node
		}
	}
	_, found := d.of[oldest]
	delete(d.of, oldest)
	return found
}

// set keeps how far a drain has come.
func (d *drains) set(p *drainProgress, now drainProgress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*p = now
}

// drop forgets a drain: that one only, if p is not nil.
func (d *drains) drop(node string, p *drainProgress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p == nil || d.of[node] == p {
		delete(d.of, node)
	}
}

// postDrain has a node give its clients away. It answers once that has begun; the
// page of the site shows how it goes on, whoever looks.
func postDrain(q *request) {
	r := &simpv1.DrainRequest{}
	if err := q.decode(r); err != nil {
		refuseCall(q.w, err)
		return
	}
	c := q.console
	progress, err := c.drains.begin(r.Node)
	if err != nil {
		refuseCall(q.w, err)
		return
	}
	begun := make(chan error, 1)
	services := simpv1.NewClusterServiceClient(q.services())
	c.spawn(func() { c.drain(c.ctx, services, r, progress, begun) })
	select {
	case err := <-begun:
		if err != nil {
			refuseCall(q.w, err)
			return
		}
		q.answer(map[string]bool{"done": true})
	case <-q.r.Context().Done():
	case <-c.ctx.Done():
		refuse(q.w, http.StatusServiceUnavailable, "this node is going away; go on at another")
	}
}

// postUndrain has a node take clients again. Its drain is not shown any more.
func postUndrain(q *request) {
	r := &simpv1.UndrainRequest{}
	err := q.decode(r)
	if err == nil {
		_, err = simpv1.NewClusterServiceClient(q.services()).Undrain(q.r.Context(), r)
	}
	if err != nil {
		refuseCall(q.w, err)
		return
	}
	q.console.drains.drop(r.Node, nil)
	q.answerMessage(&simpv1.UndrainResponse{})
}

// drain follows a drain to its end. begun is told when it has begun, or why it
// has not: then nothing of it is kept.
func (c *Console) drain(ctx context.Context, services simpv1.ClusterServiceClient, r *simpv1.DrainRequest, progress *drainProgress, begun chan<- error) {
	var p drainProgress
	hasBegun := false
	responses, err := services.Drain(ctx, r)
	for err == nil {
		var resp *simpv1.DrainResponse
		if resp, err = responses.Recv(); err != nil {
			break
		}
		p.Total, p.Left, p.Done, hasBegun = resp.Total, resp.Left, resp.Done, true
		c.drains.set(progress, p)
		notify(begun, nil)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if !hasBegun {
		c.drains.drop(r.Node, progress)
		notify(begun, err)
		return
	}
	p.ended = time.Now()
	if err != nil {
		p.Error = status.Convert(err).Message()
	}
	c.drains.set(progress, p)
}

// notify tells the first result only.
func notify(begun chan<- error, err error) {
	select {
	case begun <- err:
	default:
	}
}
