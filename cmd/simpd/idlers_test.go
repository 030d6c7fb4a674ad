package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
)

// helpers are programs that tests run as processes of their own: this very
// program under another name.
func helpers() map[string]func() {
	return map[string]func(){"idlers": runHelper(idlers), "pair": runHelper(pair)}
}

func runHelper(f func(args []string) error) func() {
	return func() {
		if err := f(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// idlers SERVER CA N: N sessions listen at SERVER, and follow MOVE. For each
// line on standard input it says how many have, until that ends.
func idlers(args []string) error {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var moved, lost atomic.Int64
	event := func(e client.Event) {
		switch e.Kind {
		case client.Moved:
			moved.Add(1)
		case client.Lost:
			lost.Add(1)
			fmt.Fprintln(os.Stderr, e.Text)
		case client.Retrying:
			fmt.Fprintln(os.Stderr, e.Text)
		}
	}
	if err := openIdlers(args[0], args[1], n, event); err != nil {
		return err
	}
	fmt.Println("all listen")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		fmt.Printf("moved %d, lost %d\n", moved.Load(), lost.Load())
	}
	return nil // the end of the process closes the connections
}

func openIdlers(server, ca string, n int, event func(client.Event)) error {
	const atOnce = 16
	next, failed := make(chan int), make(chan error, atOnce)
	var opening sync.WaitGroup
	for range atOnce {
		opening.Go(func() {
			for i := range next {
				if _, err := listenAs(idleNames(i + 1)[i/sessionsOfOne], server, ca, event); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
		case err := <-failed:
			return err
		}
	}
	close(next)
	opening.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// listenAs opens a client of the user that listens; with a CA, by STARTTLS.
func listenAs(name, server, ca string, event func(client.Event)) (*client.Client, error) {
	user, err := protocol.ParseAddress(name + "@example.com")
	if err != nil {
		return nil, err
	}
	config := client.Config{
		User: user, Password: os.Getenv("SIMP_PASSWORD"), Server: server, Security: client.Plaintext,
		OnEvent: event, OnMessage: func(context.Context, *protocol.Message) error { return nil },
	}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		config.Security, config.TLS = client.StartTLS, &tls.Config{RootCAs: roots}
	}
	c, err := client.Open(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	_, err = c.Listen(context.Background(), protocol.ListenRequest{State: protocol.Available})
	return c, err
}

// pace is how long messages took.
type pace struct {
	Messages, Failed int
	P50, P99, Max    time.Duration
}

func (p pace) String() string {
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	return fmt.Sprintf("%d with p50 %v, p99 %v, at most %v", p.Messages, round(p.P50), round(p.P99), round(p.Max))
}

// paceEvery is how often the pair sends: 200 messages a second.
const paceEvery = 5 * time.Millisecond

// pair FROM TO CA: a client at FROM sends to one at TO, at a fixed pace, however
// long the answers take. For each line on standard input it says how that went
// since the last.
func pair(args []string) error {
	ignore := func(client.Event) {}
	from, err := listenAs("from", args[0], args[2], ignore)
	if err != nil {
		return err
	}
	to, err := listenAs("to", args[1], args[2], ignore)
	if err != nil {
		return err
	}
	var r record
	go r.send(from, to.User())
	fmt.Println("chatting")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		line, err := json.Marshal(r.take())
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return nil
}

// record is what became of messages, and how long each took.
type record struct {
	mu     sync.Mutex
	took   []time.Duration
	failed int
}

// send never returns: the process's end ends it.
func (r *record) send(from *client.Client, to protocol.Address) {
	for range time.Tick(paceEvery) {
		go r.sendOne(from, to)
	}
}

func (r *record) sendOne(from *client.Client, to protocol.Address) {
	begun := time.Now()
	report, err := from.Send(context.Background(), client.Message{To: []protocol.Address{to}, Entity: client.Text("tick")})
	took := time.Since(begun)
	if err == nil && report.Status != protocol.StatusOK {
		err = fmt.Errorf("status %d", report.Status)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took = append(r.took, took)
	if err != nil {
		r.failed++
		fmt.Fprintln(os.Stderr, err)
	}
}

// take returns what there is, and begins anew.
func (r *record) take() pace {
	r.mu.Lock()
	defer r.mu.Unlock()
	took, failed := r.took, r.failed
	r.took, r.failed = nil, 0
	if len(took) == 0 {
		return pace{}
	}
	slices.Sort(took)
	return pace{len(took), failed, took[len(took)/2], took[len(took)*99/100], took[len(took)-1]}
}
