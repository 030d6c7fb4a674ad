package console

import (
	"context"
	"sync"
	"time"

	"simpd/cluster/api"
	simpv1 "simpd/proto/simp/v1"
)

// Limits of what is kept for the graphs: half an hour.
const (
	sampleEvery = 2 * time.Second
	maxSamples  = 900
)

// words are the outcomes of messages as people are told them, in the order of
// the graphs.
var words = []string{"delivered", "in doubt", "not listening", "not reading", "refused", "no such user", "slow down", "unreachable", "other"}

// wordOf returns the place in words of a status.
func wordOf(status uint32) int {
	switch status {
	case 200:
		return 0
	case 201:
		return 1
	case 480:
		return 2
	case 481:
		return 3
	case 486:
		return 4
	case 404:
		return 5
	case 429:
		return 6
	case 502, 503, 504:
		return 7
	}
	return 8
}

// sample is what happened in one interval, in messages a second.
type sample struct {
	TimeMs int64     `json:"t"`
	Rates  []float64 `json:"r"` // by words
}

// nodeCount is what one node has counted.
type nodeCount struct {
	at     time.Time
	counts []uint64 // by words
}

// sampler keeps the rates of outcomes over all nodes, and the newest status.
// Methods may be called from any goroutine.
type sampler struct {
	mu      sync.Mutex
	nodes   map[string]nodeCount
	samples []sample
	latest  *simpv1.StatusResponse // must not be changed
	changed chan struct{}          // closed at the next sample
}

func newSampler() *sampler {
	return &sampler{nodes: map[string]nodeCount{}, changed: make(chan struct{})}
}

// sample looks at all nodes every two seconds, so that a page that is opened
// shows what came before.
func (c *Console) sample() {
	services := simpv1.NewClusterServiceClient(c.Programs.Local(api.Identity{Name: "console", Roles: []string{"cluster:read"}}))
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(c.ctx, statusPatience)
		resp, err := services.Status(ctx, &simpv1.StatusRequest{})
		cancel()
		if err == nil {
			c.samples.add(resp, time.Now())
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
	}
}

// add takes what the nodes have counted by now. A node that was started anew
// counts from 0.
func (s *sampler) add(resp *simpv1.StatusResponse, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := sample{TimeMs: now.UnixMilli(), Rates: make([]float64, len(words))}
	for _, n := range resp.Node {
		if n.State == simpv1.NodeState_NODE_STATE_DOWN {
			continue
		}
		count := nodeCount{now, make([]uint64, len(words))}
		for _, o := range n.Outcome {
			count.counts[wordOf(o.Status)] += o.Count
		}
		if before, ok := s.nodes[n.Id]; ok {
			addRates(next.Rates, before, count)
		}
		s.nodes[n.Id] = count
	}
	s.latest = resp
	s.samples = append(s.samples, next)
	s.samples = s.samples[max(0, len(s.samples)-maxSamples):]
	close(s.changed)
	s.changed = make(chan struct{})
}

func addRates(rates []float64, before, after nodeCount) {
	seconds := after.at.Sub(before.at).Seconds()
	if seconds <= 0 {
		return
	}
	for i := range rates {
		n := after.counts[i]
		if n >= before.counts[i] {
			n -= before.counts[i]
		}
		rates[i] += float64(n) / seconds
	}
}

// status returns the newest status; nil before there is one.
func (s *sampler) status() *simpv1.StatusResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// messagesView is the page of messages: samples, and how many there were since
// each node's start.
type messagesView struct {
	Words   []string            `json:"words"`
	Samples []sample            `json:"samples"`
	Totals  map[string][]uint64 `json:"totals"` // by node
}

// view returns the samples after a time, and what ends with the next one.
func (s *sampler) view(after int64) (messagesView, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := messagesView{Words: words, Samples: []sample{}, Totals: map[string][]uint64{}}
	for _, one := range s.samples {
		if one.TimeMs > after {
			v.Samples = append(v.Samples, one)
		}
	}
	for node, count := range s.nodes {
		v.Totals[node] = count.counts
	}
	return v, s.changed
}

// getMessages answers with the rates of outcomes: once, or as events, first all
// and then each new one.
func getMessages(q *request) {
	if !q.wantsEvents() {
		v, _ := q.console.samples.view(0)
		q.answer(v)
		return
	}
	q.stream(func(s *stream) error {
		var after int64
		for {
			if err := s.check(); err != nil {
				return err
			}
			v, changed := s.console.samples.view(after)
			if err := s.send("", "", v); err != nil {
				return err
			}
			if n := len(v.Samples); n > 0 {
				after = v.Samples[n-1].TimeMs
			}
			if err := s.await(changed); err != nil {
				return err
			}
		}
	})
}

// await waits for something, and meanwhile gives signs of life.
func (s *stream) await(changed <-chan struct{}) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-changed:
			return nil
		case <-tick.C:
			if err := s.check(); err != nil {
				return err
			}
			if err := s.beat(); err != nil {
				return err
			}
		case <-s.ctx.Done():
			return s.ctx.Err()
		}
	}
}
