package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// answerTimeout limits the time a voter takes to answer before it counts as
// lost.
const answerTimeout = time.Second

// checkRemoval returns ErrRefused if the site could not continue without a
// node: if the voters that answer are no majority of the present
// configuration, or the remaining ones no majority of the configuration
// without the node. The removal could then not be committed, or would be the
// last change that is. It may be called on any node.
func (n *Node) checkRemoval(ctx context.Context, id string) error {
	var voters []string
	for _, s := range n.servers() {
		if s.Suffrage == raft.Voter {
			voters = append(voters, string(s.ID))
		}
	}
	if !slices.Contains(voters, id) {
		return nil
	}
	answering := n.answering(ctx, voters)
	if ctx.Err() != nil {
		return unavailable("asking the voters whether they answer: %w", ctx.Err())
	}
	remaining := slices.DeleteFunc(slices.Clone(answering), func(v string) bool { return v == id })
	if len(answering) >= majorityOf(len(voters)) && len(remaining) >= majorityOf(len(voters)-1) {
		return nil
	}
	silent := slices.DeleteFunc(voters, func(v string) bool { return v == id || slices.Contains(answering, v) })
	return fmt.Errorf("%w: without %s the site would have no majority, as %s", ErrRefused, id, describeSilent(silent, id))
}

// describeSilent says which voters do not answer, or that the one to be removed
// doesn't, and what to do.
func describeSilent(silent []string, removed string) string {
	switch len(silent) {
	case 0:
		return removed + " does not answer: bring it back"
	case 1:
		return silent[0] + " does not answer: bring it back, or remove it first"
	}
	return strings.Join(silent, ", ") + " do not answer: bring them back, or remove them first"
}

// answering returns which of the voters answer, including this node.
func (n *Node) answering(ctx context.Context, voters []string) (ids []string) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answers := make([]bool, len(voters))
	var all sync.WaitGroup
	for i, id := range voters {
		all.Go(func() {
			_, err := n.statusOf(ctx, id)
			answers[i] = err == nil
		})
	}
	all.Wait()
	for i, id := range voters {
		if answers[i] {
			ids = append(ids, id)
		}
	}
	return ids
}

// majorityOf returns how many of n voters are a majority.
func majorityOf(n int) int { return n/2 + 1 }
