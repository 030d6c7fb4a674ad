//go:build linux

package main

import "github.com/spf13/cobra"

// rowCommands are the commands that measure one row each.
func rowCommands(s *settings) []*cobra.Command {
	return []*cobra.Command{
		pairsCommand(s), acrossCommand(s), onewayCommand(s), pacedCommand(s),
		presenceCommand(s), rampCommand(s), tlsCommand(s), stormCommand(s), tableCommand(s),
	}
}

func allCommand(s *settings) *cobra.Command {
	return command(s, "all", "every row, one after the other", func() ([]row, error) {
		if s.short {
			return shortRows(), nil
		}
		return longRows(), nil
	})
}

// longRows are all rows as their commands play them.
func longRows() []row {
	pairs := pairsFlags{pairs: 500, octets: []int{100, 1024}}
	ramp := rampFlags{steps: []int{1000, 5000, 15_000}, nodes: []int{1, 3}, messages: true}
	presence := presenceFlags{watchers: []int{100, 1000}, total: 1000}
	storm := stormFlags{users: 10_000, pairs: 100, victim: "follower", jitter: stormJitter}
	table := tableFlags{bindings: []int{1000, 100_000, 1_000_000}}
	return rows(pairs, ramp, presence, tlsFlags{sessions: 2000}, storm, table)
}

// shortRows are all rows with smaller numbers, for a minute in all.
func shortRows() []row {
	pairs := pairsFlags{pairs: 100, octets: []int{100, 1024}}
	ramp := rampFlags{steps: []int{500, 2000}, nodes: []int{1, 3}}
	presence := presenceFlags{watchers: []int{100}, total: 100}
	storm := stormFlags{users: 500, pairs: 20, victim: "follower", jitter: stormJitter}
	table := tableFlags{bindings: []int{1000, 20_000}}
	return rows(pairs, ramp, presence, tlsFlags{sessions: 300}, storm, table)
}

func rows(pairs pairsFlags, ramp rampFlags, presence presenceFlags, secure tlsFlags, storm stormFlags, table tableFlags) []row {
	oneway := onewayFlags{pairs: 100, window: 64, octets: 100}
	paced := pacedFlags{pairs: pairs.pairs, rate: 1000, octets: 100}
	all := []row{pairs.row(), pairs.across(), oneway.row(), paced.row()}
	all = append(all, presence.rows()...)
	all = append(all, ramp.rows()...)
	return append(all, secure.row(), storm.row(), table.row())
}
