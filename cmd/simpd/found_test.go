package main

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"

	"simpd/protocol"

	"simpd/cmd/testkit/site"
)

// startInsecureSite starts three nodes that form a site, without TLS. args
// returns a node's, for starting it again.
func startInsecureSite(t *testing.T, dir string) (nodes []*testNode, args [][]string) {
	t.Helper()
	ids := []string{"n1", "n2", "n3"}
	address := make([]map[string]string, len(ids))
	for i := range ids {
		address[i] = map[string]string{}
		for _, o := range []string{"simp-listen", "grpc-listen", "cluster-listen", "gossip-listen", "http-listen"} {
			address[i][o] = site.FreeAddress()
		}
	}
	for i, id := range ids {
		a := []string{"serve", "--insecure", "--node-id=" + id, "--data-dir=" + dir + "/" + id, "--domain=example.com", "--bootstrap-expect=3"}
		for o, at := range address[i] {
			a = append(a, "--"+o+"="+at)
		}
		for j := range ids {
			if j != i {
				a = append(a, "--join="+address[j]["gossip-listen"])
			}
		}
		args = append(args, a)
		nodes = append(nodes, &testNode{start(t, "simpd", a...), id, dir})
	}
	for _, n := range nodes {
		n.await(n.err, "msg=ready")
	}
	return nodes, args
}

var foundRounds = flag.Int("found-rounds", 30, "how often each of 50 users listens, to be found from two nodes")

// TestFoundAtOnce: from the 200 to a LISTEN on one node on, a SEND at each
// other node finds the listener: three thousand times (with -found-rounds 100
// ten thousand times), no miss.
func TestFoundAtOnce(t *testing.T) {
	const users = 50
	nodes, _ := startInsecureSite(t, t.TempDir())
	var names []string
	for i := range users {
		names = append(names, fmt.Sprintf("u%d", i))
	}
	nodes[0].addUsers(names...)
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() {
			if err := foundAtOnce(nodes, i, name, *foundRounds); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	join(t, "all are found", &all)
}

// foundAtOnce has one user listen on one node again and again, and be sent to
// from both others.
func foundAtOnce(nodes []*testNode, i int, name string, rounds int) error {
	user := name + "@example.com"
	var talks [3]*talk
	for j := range talks {
		var err error
		accept := func(protocol.Line, []byte) string { return "200" }
		if talks[j], err = dialTalk(nodes[(i+j)%3].address("simp-listen"), user, testPassword, accept, nil); err != nil {
			return err
		}
		defer talks[j].close()
	}
	for range rounds {
		if err := answered(talks[0], "LISTEN", nil); err != nil {
			return err
		}
		for _, other := range talks[1:] {
			if err := answered(other, "SEND to="+user, []byte("\r\nhello")); err != nil {
				return err
			}
		}
		if err := answered(talks[0], "UNLISTEN", nil); err != nil {
			return err
		}
	}
	return nil
}

// answered asks until the node can tell: on a starved machine it may not have
// the leader's word in time, and says 503. That is no miss; that nobody
// listens would be one.
func answered(at *talk, command string, entity []byte) error {
	for {
		_, err := at.ask(command, entity)
		if err == nil {
			return nil
		}
		if !strings.HasPrefix(err.Error(), "503 ") {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
}
