// Warehouse keeps every change of presence of a SIMP site in a file, each
// exactly once, one JSON object a line:
//
//	go run . --nodes 127.0.0.1:7469,127.0.0.1:7569 --file presence.jsonl
//
// Each line bears the position that it stands for, so the file itself says
// where to go on: after a crash of this program, at another node if one has
// been killed, or tomorrow. Where the site does not keep its history back to
// there, it says reset, and the present state follows. A state is complete once
// synced follows it; one that another reset follows instead is void.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	simpv1 "simpd/proto/simp/v1"
)

func main() {
	nodes := flag.String("nodes", "127.0.0.1:7469", "the nodes' listeners for programs, with commas between; they run with --insecure")
	file := flag.String("file", "presence.jsonl", "where the changes are kept")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	j, err := openJournal(*file)
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	if err := follow(ctx, strings.Split(*nodes, ","), j); err != nil {
		log.Fatal(err)
	}
}

// retry is the pause after all nodes have failed once.
const retry = 500 * time.Millisecond

// follow watches at one node until it fails, and goes on at the next, until
// ctx ends. Its error is the journal's.
func follow(ctx context.Context, nodes []string, j *journal) error {
	for n := 0; ; n++ {
		err := watch(ctx, nodes[n%len(nodes)], j)
		if ctx.Err() != nil {
			return nil
		}
		if j.err != nil {
			return j.err
		}
		log.Printf("%s: %v; going on at the next node", nodes[n%len(nodes)], err)
		if n%len(nodes) == len(nodes)-1 {
			select {
			case <-time.After(retry):
			case <-ctx.Done():
			}
		}
	}
}

// watch writes what one node tells into the journal, from where it ends.
func watch(ctx context.Context, node string, j *journal) error {
	conn, err := grpc.NewClient(node, grpc.WithTransportCredentials(insecure.NewCredentials()),
		// A node that vanishes without a word is noticed in 15 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := j.begin(); err != nil {
		return err
	}
	stream, err := simpv1.NewPresenceServiceClient(conn).Watch(ctx, &simpv1.WatchRequest{After: j.position()})
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := j.add(r); err != nil {
			return err
		}
	}
}
