package main

import (
	"context"
	"net"
	"sync"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// TestTrace: a message from one node to another is one trace, with a span on
// each, the recipient's below the sender's.
func TestTrace(t *testing.T) {
	spans := collect(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	s := startCrowdSite(t)
	c := gather(t, s, 1, 0)
	c.chatOn()
	c.disperse()
	eventually(t, "the spans of a message come", func() bool { return spans.crossing() })
}

// collected is what the nodes have told of traces.
type collected struct {
	otlp.UnimplementedTraceServiceServer
	mu    sync.Mutex
	nodes map[string]string // by span id: the node
	below [][2]string       // node and parent of what was received
}

// collect plays the collector, and tells the nodes of it by the environment.
func collect(t *testing.T) *collected {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collected{nodes: map[string]string{}}
	g := grpc.NewServer()
	otlp.RegisterTraceServiceServer(g, c)
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-done })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	return c
}

func (c *collected) Export(_ context.Context, r *otlp.ExportTraceServiceRequest) (*otlp.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range r.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.take(span)
			}
		}
	}
	return &otlp.ExportTraceServiceResponse{}, nil
}

func (c *collected) take(span *tracev1.Span) {
	node := ""
	for _, a := range span.Attributes {
		if a.Key == "simp.node" {
			node = a.Value.GetStringValue()
		}
	}
	if span.Name == "SEND" {
		c.nodes[string(span.SpanId)] = node
	} else {
		c.below = append(c.below, [2]string{node, string(span.ParentSpanId)})
	}
}

// crossing reports whether a message went from one node to another.
func (c *collected) crossing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.below {
		if from := c.nodes[b[1]]; from != "" && from != b[0] {
			return true
		}
	}
	return false
}
