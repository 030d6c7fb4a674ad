// Rspamd decides about messages for a SIMP site by asking rspamd's HTTP
// interface (/checkv2).
//
//	go run ./docs/examples/rspamd -listen 127.0.0.1:7490 -rspamd http://127.0.0.1:11333
//	simpd serve ... --policy-address 127.0.0.1:7490 --policy-entity
//
// Without --policy-entity rspamd sees an empty message, and can only decide by
// sender, recipient, and what it counts of them.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	simpv1 "simpd/proto/simp/v1"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7490", "where the nodes ask")
	rspamd := flag.String("rspamd", "http://127.0.0.1:11333", "rspamd's normal worker")
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	s := grpc.NewServer()
	simpv1.RegisterPolicyServiceServer(s, &policy{url: *rspamd + "/checkv2", client: http.DefaultClient})
	log.Fatal(s.Serve(l))
}

// policy answers the nodes of a site.
type policy struct {
	simpv1.UnimplementedPolicyServiceServer
	url    string
	client *http.Client
}

// result is the part of rspamd's answer that matters here.
type result struct {
	Action string `json:"action"`
}

// Check asks rspamd about one message. An error, such as that of a request that
// takes too long, leaves the decision to the site's policy-fail.
func (p *policy) Check(ctx context.Context, r *simpv1.CheckRequest) (*simpv1.CheckResponse, error) {
	got, err := p.ask(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("asking rspamd: %w", err)
	}
	switch got.Action {
	case "no action", "add header", "rewrite subject":
		return &simpv1.CheckResponse{Verdict: simpv1.Verdict_VERDICT_PASS}, nil
	case "greylist", "soft reject":
		return &simpv1.CheckResponse{Verdict: simpv1.Verdict_VERDICT_SLOW_DOWN, Retry: durationpb.New(5 * time.Minute)}, nil
	case "reject", "discard":
		// The sender is not told that it was taken for spam.
		return &simpv1.CheckResponse{Verdict: simpv1.Verdict_VERDICT_NOT_LISTENING, Ttl: durationpb.New(10 * time.Minute)}, nil
	}
	return nil, fmt.Errorf("rspamd says %q", got.Action)
}

func (p *policy) ask(ctx context.Context, r *simpv1.CheckRequest) (got result, err error) {
	// An entity has no From and To of its own; rspamd takes these from the header.
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(r.Entity))
	if err != nil {
		return got, err
	}
	q.Header.Set("From", r.From)
	q.Header.Set("Rcpt", r.To)
	q.Header.Set("User", r.From)
	resp, err := p.client.Do(q)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return got, fmt.Errorf("HTTP status %s", resp.Status)
	}
	return got, json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&got)
}
