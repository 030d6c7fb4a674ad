package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"simpd/cmd/testkit/isolate"
	"simpd/cmd/testkit/site"
	"simpd/protocol/wait"
)

// plan says what a run is to be.
type plan struct {
	seed     uint64
	bin      string
	dir      string        // where its files go; made
	length   time.Duration // of the time in which faults come
	pause    time.Duration // of each sender between two messages
	net      *network      // nil: loopback
	insecure bool
	shared   bool           // the machine is shared: small delays and low throughput are not failures
	groups   isolate.Groups // of MiB 0: each node may use what there is
	clocks   bool           // the nodes' monotonic clocks are apart
	shifted  string         // the folder of a simpd whose wall clock can be set; empty: none is used
	faults   []injector
	nodes    int
}

// lab is one run: a site, its clients, what they record, and the faults.
type lab struct {
	plan
	clock    clock
	site     *site.Site
	trust    *tls.Config
	users    []string
	alone    []string // users with one device, which moves
	history  *history
	conns    atomic.Int64
	sessions atomic.Int64
	struck   map[int]bool   // nodes that a fault is on
	stepped  map[int]bool   // nodes whose wall clock a fault has set
	notes    map[string]int // what became of some faults
	disks    []string       // file systems that were made
	shelf    string         // where they are kept
	kept     bool           // the files are left for a look
	last     []*ear         // who listens until all is over
	strange  []string       // nodes that ended by themselves, and why
	buried   []string       // nodes that were taken for dead, and lived

	senders, listeners, watchers sync.WaitGroup

	rmu sync.Mutex
	r   *rand.Rand // of the run's one conductor
}

const (
	manyUsers  = 20 // with one to three devices each
	aloneUsers = 8

	sendersOfNode = 2

	siteDomain = "example.com"
)

// within is the command that runs a program where node i is.
func (p *plan) within(i int) (line []string) {
	if p.net != nil {
		line = p.net.Within(i)
	}
	if p.groups.MiB > 0 {
		line = append(line, p.groups.Within(i)...)
	}
	if p.clocks {
		line = append(line, "unshare", "-T", "-f", "--kill-child", "--monotonic", fmt.Sprint(i*100_000))
	}
	if p.shifted != "" {
		line = append(line, "env", shiftVariable+"="+p.shiftFile(i))
	}
	return line
}

// newLab prepares a run; nothing is started yet.
func newLab(p plan) *lab {
	l := &lab{plan: p, clock: clock{Begun: time.Now()}, history: &history{}, struck: map[int]bool{}, stepped: map[int]bool{}, notes: map[string]int{}, r: rand.New(rand.NewPCG(p.seed, 5))}
	for i := range manyUsers {
		l.users = append(l.users, fmt.Sprintf("user%d", i))
	}
	for i := range aloneUsers {
		l.alone = append(l.alone, fmt.Sprintf("alone%d", i))
	}
	l.users = append(l.users, l.alone...)
	return l
}

// start makes the network and the site, and starts it. Close has to be called
// also after an error.
func (l *lab) start() (err error) {
	c := site.Config{
		Bin: l.bin, Dir: l.dir, Nodes: l.nodes, Domain: siteDomain, Password: "correct horse battery staple",
		Insecure: l.insecure, Within: l.within,
	}
	if l.net != nil {
		c.Host = l.net.Host
		if err := l.net.Open(l.nodes); err != nil {
			return err
		}
	}
	if l.site, err = site.New(c); err != nil {
		return err
	}
	l.site.Env = append(l.site.Env, site.Unlimited)
	for _, n := range l.site.Nodes {
		n.Bin = l.shifted
	}
	if l.groups.MiB > 0 {
		env, err := l.groups.Make()
		if err != nil {
			return err
		}
		l.site.Env = append(l.site.Env, env...)
	}
	return l.begin()
}

// begin starts the nodes and makes the accounts.
func (l *lab) begin() error {
	if !l.insecure {
		roots, err := readRoots(l.site.CA)
		if err != nil {
			return err
		}
		l.trust = &tls.Config{RootCAs: roots, ServerName: l.site.Domain, NextProtos: []string{"simp"}, ClientSessionCache: nil}
	}
	if l.net != nil {
		if err := l.makeDisks(); err != nil {
			return err
		}
	}
	if err := l.site.BeginAll(); err != nil {
		return err
	}
	return l.site.AddUsers(l.site.Nodes[0], append(l.others(), l.users...)...)
}

// others are those who send, watch and ask.
func (l *lab) others() []string {
	var all []string
	for i := range sendersOfNode * len(l.site.Nodes) {
		all = append(all, fmt.Sprintf("sender%d", i))
	}
	for i := range len(l.site.Nodes) {
		all = append(all, fmt.Sprintf("watcher%d", i+1), fmt.Sprintf("asker%d", i+1))
	}
	return all
}

// close ends all processes that the run has started.
func (l *lab) close() {
	if l.site != nil {
		l.site.End()
	}
	l.groups.Remove()
	if l.net != nil {
		l.removeDisks(l.kept)
		l.net.Close()
	}
}

func (l *lab) address(user string) string { return user + "@" + l.site.Domain }

// random makes a source that depends on the seed and on the order of calls.
func (l *lab) random() *rand.Rand {
	l.rmu.Lock()
	defer l.rmu.Unlock()
	return rand.New(rand.NewPCG(l.r.Uint64(), l.r.Uint64()))
}

// intN returns a number below n by chance, which depends on the same.
func (l *lab) intN(n int) int {
	l.rmu.Lock()
	defer l.rmu.Unlock()
	return l.r.IntN(n)
}

func (l *lab) someone(r *rand.Rand) string { return l.users[r.IntN(len(l.users))] }

func (l *lab) refuse(what string) { l.history.refuse(what) }

// run has clients talk while faults come, and then looks at what was recorded.
func (l *lab) run() (*report, error) {
	watching, stopWatching := context.WithCancel(context.Background())
	listening, stopListening := context.WithCancel(watching)
	sending, stopSending := context.WithCancel(listening)
	l.watchers.Go(func() { l.watchSelf(watching) })
	l.startWatching(watching)
	l.startListening(listening)
	l.startSending(sending)
	err := l.conduct(l.length)
	stopSending()
	l.senders.Wait()
	l.pauseFor(quiet) // what was refused must not come now either
	stopListening()
	l.listeners.Wait()
	if err == nil {
		err = l.settle()
	}
	stopWatching()
	l.watchers.Wait()
	for _, e := range l.last {
		e.leave() // when nobody watches any more: not all would see it
	}
	r := l.check(err)
	return r, l.keep(r)
}

// watchSelf notes when the laboratory itself stands still: on a machine that is
// too busy the nodes do so too, and whoever is late then is not to blame.
func (l *lab) watchSelf(ctx context.Context) {
	const tick, much = 20 * time.Millisecond, 200 * time.Millisecond
	for before := l.clock.Now(); ctx.Err() == nil; {
		wait.Sleep(ctx, tick)
		now := l.clock.Now()
		if now-before > much {
			l.history.locked(func() {
				l.history.Stalls = append(l.history.Stalls, fault{Kind: "the machine stood still", Begun: before, End: now})
			})
		}
		before = now
	}
}

// quiet is the time without messages before the clients go.
const quiet = 3 * time.Second

func (l *lab) startWatching(ctx context.Context) {
	l.history.Told = make([][]told, 3)
	for i := range l.history.Told {
		c := &consumer{lab: l, r: l.random(), number: i}
		if i > 0 {
			c.steady = time.Duration(i) * 4 * time.Second
		}
		l.watchers.Go(func() { c.run(ctx) })
	}
	l.awaitConsumers()
	for i := range len(l.site.Nodes) {
		w := &watcher{lab: l, name: fmt.Sprintf("watcher%d", i+1), node: i + 1}
		l.watchers.Go(func() { w.run(ctx) })
	}
}

// awaitConsumers waits until each consumer knows where it began: what they
// are told from then on is all that happens.
func (l *lab) awaitConsumers() {
	for {
		synced := 0
		l.history.locked(func() {
			for _, told := range l.history.Told {
				if len(told) > 0 {
					synced++
				}
			}
		})
		if synced == len(l.history.Told) {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (l *lab) startListening(ctx context.Context) {
	for i, u := range l.users {
		alone := i >= manyUsers
		for range devicesOf(i, alone) {
			d := l.newDevice(u, alone)
			l.listeners.Go(func() { d.run(ctx) })
		}
	}
}

// startSending starts who sends, and who asks.
func (l *lab) startSending(ctx context.Context) {
	for i := range len(l.site.Nodes) {
		for j := range sendersOfNode {
			s := l.newSender(sendersOfNode*i+j, i+1, l.pause)
			l.senders.Go(func() { s.run(ctx) })
		}
		a := &asker{lab: l, r: l.random(), name: fmt.Sprintf("asker%d", i+1), node: i + 1, pause: 15 * time.Millisecond}
		l.senders.Go(func() { a.run(ctx) })
	}
}

func devicesOf(i int, alone bool) int {
	if alone {
		return 1
	}
	return 1 + i%3
}

// keep writes the history if something was wrong, and removes all files if not.
func (l *lab) keep(r *report) error {
	if len(r.wrong) == 0 {
		l.site.End()
		l.removeDisks(false)
		return os.RemoveAll(l.dir)
	}
	l.kept = true
	return l.history.write(filepath.Join(l.dir, "history.json"))
}
