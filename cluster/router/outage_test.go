package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"simpd/cluster/accounts"
	"simpd/protocol"
)

// fadingSource is a directory that can go out of order in two ways.
type fadingSource struct {
	*directorySource
	silent *bool // it answers nothing any more, where it would refuse otherwise
}

func (s fadingSource) isSilent() (silent bool) {
	s.set(func() { silent = s.broken != nil && *s.silent })
	return silent
}

func (s fadingSource) CheckPassword(ctx context.Context, l protocol.PasswordLogin) (accounts.Answer, error) {
	if s.isSilent() {
		<-ctx.Done()
		return accounts.Answer{}, ctx.Err()
	}
	return s.directorySource.CheckPassword(ctx, l)
}

func (s fadingSource) FindUsers(ctx context.Context, users []protocol.Address) (map[protocol.Address]accounts.UserState, error) {
	if s.isSilent() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.directorySource.FindUsers(ctx, users)
}

// A directory is out of order for five minutes under load, refusing connections
// or answering nothing. No right password is called wrong, nobody's session ends
// and app passwords stay; afterwards users log in again.
func TestDirectoryOutOfOrderForFiveMinutes(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const users = 20
			nodes := []string{"n1", "n2", "n3"}
			s, d := newSourceSite(t, []string{"corp", accounts.Table}, nodes...)
			s.raiseSchema()
			for _, id := range nodes {
				s.nodes[id].config.Sources.Replace(accounts.Set{
					Sources: map[string]accounts.Source{"corp": fadingSource{d, &silent}}, Domains: map[string][]string{"example.com": {"corp", accounts.Table}},
				})
			}
			leader := s.nodes["n1"]
			leader.config.Leads = always
			leader.running.Go(leader.watchLeavers)
			d.set(func() { d.passwords = map[string]string{} })
			var sessions []*client
			for i := range users {
				name := fmt.Sprint("user", i)
				d.set(func() { d.passwords[name] = "right" })
				c := s.enter(name, nodes[i%3], s.mustCheck(name, nodes[i%3]))
				c.mustListen(t, available)
				now, _ := s.nodes[nodes[i%3]].Credentials(addr(name + "@example.com"))
				if _, err := c.AddAppPassword(t.Context(), protocol.AppPassword{Name: "phone"}, now); err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, c)
			}

			var mu sync.Mutex
			told := map[string]int{}
			load := func(length time.Duration, name string) { // four logins a second, each fourth with a wrong password
				var all sync.WaitGroup
				for i := range int(length / (250 * time.Millisecond)) {
					password := "right"
					if i%4 == 0 {
						password = fmt.Sprint("wrong", i)
					}
					all.Go(func() {
						_, err := s.check(fmt.Sprint("user", i%users), nodes[i%3], password, false)
						mu.Lock()
						defer mu.Unlock()
						told[fmt.Sprintf("%s: %.5s %d", name, password, statusOf(err))]++
					})
					time.Sleep(250 * time.Millisecond)
				}
				all.Wait()
			}
			d.set(func() { d.broken = errors.New("connection refused") })
			load(5*time.Minute, "down")
			for i, c := range sessions {
				account, _ := s.nodes["n2"].config.Table.Account(addr(fmt.Sprintf("user%d@example.com", i)))
				if out := slices.ContainsFunc(c.heard(), func(said string) bool { return strings.HasPrefix(said, "bye") }); out || len(account.AppPasswords()) != 1 {
					t.Errorf("user%d is out: %v, and has %d app passwords", i, out, len(account.AppPasswords()))
				}
			}
			d.set(func() { d.broken = nil })
			time.Sleep(time.Minute)
			load(10*time.Second, "up")
			want := map[string]int{"down: right 503": 900, "down: wrong 503": 300, "up: right 0": 30, "up: wrong 401": 10}
			if fmt.Sprint(told) != fmt.Sprint(want) {
				t.Errorf("silent %v: users were told %v", silent, told)
			}
		})
	}
}
