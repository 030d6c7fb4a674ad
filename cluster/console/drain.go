package console

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"

	"google.golang.org/grpc/status"

	simpv1 "simpd/proto/simp/v1"
)

// drainProgress is how far a drain has come that was asked for at this node's
// console.
type drainProgress struct {
	Total uint64 `json:"total"`
	Left  uint64 `json:"left"`
	Done  bool   `json:"done"`
	Error string `json:"error,omitempty"`
}

// drains are the newest drain of each node.
type drains struct {
	mu sync.Mutex
	of map[string]*drainProgress
}

// list returns how far the drains have come.
func (d *drains) list() map[string]drainProgress {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]drainProgress{}
	for node, p := range d.of {
		all[node] = *p
	}
	return maps.Clone(all)
}

func (d *drains) set(node string, p drainProgress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.of[node] = &p
}

// maxDrains limits the nodes whose drains are kept.
const maxDrains = 64

// begin reports whether a drain of the node may begin now.
func (d *drains) begin(node string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.of[node]; p != nil && !p.Done && p.Error == "" || len(d.of) >= maxDrains {
		return false
	}
	d.of[node] = &drainProgress{}
	return true
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
	if !c.drains.begin(r.Node) {
		refuse(q.w, http.StatusConflict, "a drain of this node is under way")
		return
	}
	begun := make(chan error, 1)
	services := simpv1.NewClusterServiceClient(q.services())
	c.spawn(func() { c.drain(c.ctx, services, r, begun) })
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

// drain follows a drain to its end. begun is told when it has begun, or why it
// has not.
func (c *Console) drain(ctx context.Context, services simpv1.ClusterServiceClient, r *simpv1.DrainRequest, begun chan<- error) {
	var p drainProgress
	responses, err := services.Drain(ctx, r)
	for err == nil {
		var resp *simpv1.DrainResponse
		if resp, err = responses.Recv(); err != nil {
			break
		}
		p.Total, p.Left, p.Done = resp.Total, resp.Left, resp.Done
		c.drains.set(r.Node, p)
		notify(begun, nil)
	}
	if errors.Is(err, io.EOF) {
		return
	}
	p.Error = status.Convert(err).Message()
	c.drains.set(r.Node, p)
	notify(begun, err)
}

// notify tells the first result only.
func notify(begun chan<- error, err error) {
	select {
	case begun <- err:
	default:
	}
}
