//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
)

func compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare BEFORE AFTER",
		Short: "compare two files that --json has written",
		Long: "Compares two files that --json has written. Where both have the relay's value, its\n" +
			"change is taken out: what is compared are the ratios to it. A change that is smaller\n" +
			"than the spread of the rounds is marked with ~.",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, files []string) error {
			before, err := readResults(files[0])
			if err != nil {
				return cli.Failed(err)
			}
			after, err := readResults(files[1])
			if err != nil {
				return cli.Failed(err)
			}
			return cli.Failed(compare(c.OutOrStdout(), before, after))
		},
	}
}

func compare(out io.Writer, before, after *results) error {
	if before.Machine != after.Machine {
		fmt.Fprintln(out, "The machines differ; only ratios to the relay can be compared.")
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "row\twhat\tof\tunit\tbefore\tafter\tchange")
	for _, b := range before.Series {
		a := after.find(b.key)
		if a == nil || b.Subject == relayName {
			continue
		}
		x, y, unit := b.Values, a.Values, b.Unit
		if rb, ra := before.relayFor(b), after.relayFor(a); rb != nil && ra != nil {
			x, y, unit = ratios(x, rb.Values), ratios(y, ra.Values), "× relay"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", b.Row, b.Metric, b.Subject, unit, spread3(x), spread3(y), change(x, y))
	}
	return w.Flush()
}

func (r *results) relayFor(s *series) *series {
	return r.find(key{s.Row, s.Metric, s.Unit, relayName})
}

// change tells by how much the median has changed; ~ where the ranges overlap.
func change(before, after []float64) string {
	if median(before) == 0 {
		return ""
	}
	text := fmt.Sprintf("%+.1f %%", 100*(median(after)/median(before)-1))
	if overlap(before, after) {
		text = "~ " + text
	}
	return text
}
