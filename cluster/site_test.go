package cluster

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	storev1 "simpd/proto/simp/store/v1"
	"simpd/protocol"
	"simpd/store"
)

// receiver is a node's clients, as far as these tests need any.
type receiver struct {
	mu     sync.Mutex
	epochs []uint64
	up     chan uint64
	kick   func(user protocol.Address, s *store.Session) int // nil: nobody is closed
	by     []protocol.Address                                // watch everybody
}

func newReceiver() *receiver { return &receiver{up: make(chan uint64, 64)} }

func (r *receiver) DeliverToSession(_ store.Session, _ *protocol.Message, done func(protocol.Outcome)) {
	done(protocol.Outcome{Status: protocol.StatusOK})
}

func (r *receiver) WatchersOf(protocol.Address) []protocol.Address { return r.by }

func (r *receiver) Kick(user protocol.Address, s *store.Session) int {
	if r.kick == nil {
		return 0
	}
	return r.kick(user, s)
}

func (r *receiver) Settle(context.Context, uint64) error { return nil }

func (r *receiver) Failed(protocol.Attempt, int) {}
func (r *receiver) Succeeded(protocol.Attempt)   {}

func (r *receiver) Up(epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epochs = append(r.epochs, epoch)
	r.up <- epoch
}

// single is the configuration of a site of one, in a directory of its own.
func single(t *testing.T) Config {
	t.Helper()
	return Config{
		NodeID: "n1", Site: "example.com", DataDir: filepath.Join(t.TempDir(), "data"),
		Table: store.New(store.Config{}), Receiver: newReceiver(), Timing: Dev, BootstrapExpect: 1,
		Fatal:  func(err error) { t.Errorf("fatal: %v", err) },
		Logger: testLogger(t),
	}
}

func testLogger(t *testing.T) *slog.Logger {
	level := slog.LevelError + 1
	if os.Getenv("SIMPD_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// start starts a node and closes it when the test ends.
func start(t *testing.T, c Config) *Node {
	t.Helper()
	n, err := Open(c)
	if err == nil {
		err = n.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return n
}

// within is a context for what should be quick.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// awaitUp waits until a node has an epoch.
func awaitUp(t *testing.T, n *Node) uint64 {
	t.Helper()
	select {
	case epoch := <-n.cfg.Receiver.(*receiver).up:
		return epoch
	case <-within(t).Done():
		t.Fatalf("node %s does not come up: %v", n.cfg.NodeID, n.Ready())
		return 0
	}
}

func address(t *testing.T, s string) protocol.Address {
	t.Helper()
	a, err := protocol.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func account(name string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_PutAccount{PutAccount: &storev1.PutAccount{
		Address: name, Mode: storev1.PutAccount_MODE_UPSERT,
		Verifier: &storev1.Verifier{Salt: make([]byte, 16), Iterations: 10000, StoredKey: make([]byte, 32), ServerKey: make([]byte, 32)},
	}}}
}

func contact(owner, who, name string) *storev1.Change {
	return &storev1.Change{Kind: &storev1.Change_SetContact{SetContact: &storev1.SetContact{Owner: owner, Address: who, Name: name}}}
}

// propose has changes made, none of them refused.
func propose(t *testing.T, n *Node, changes ...*storev1.Change) []store.Result {
	t.Helper()
	results, err := n.Propose(within(t), changes...)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Refusal != store.None {
			t.Fatalf("change %d is refused: %v %s", i, r.Refusal, r.Detail)
		}
	}
	return results
}
