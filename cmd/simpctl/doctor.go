package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"simpd/cluster/doctor"
	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Explain what is wrong with the site, and what mends it", Args: cli.ArgumentCount(0, 0, "no argument"),
		Long: "Doctor looks at each node as the node at --addr sees it, and says of everything that is not as it should be " +
			"what it means and the command that mends it. It exits with 0 if nothing has to be mended, and with 1 otherwise.",
		RunE: func(c *cobra.Command, _ []string) error { return a.runDoctor(c.Context()) },
	}
}

var errIll = errors.New("something has to be mended")

func (a *app) runDoctor(ctx context.Context) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.cluster.Status, &simpv1.StatusRequest{})
	if err != nil {
		return newLinesError(a.explainError(err), "look at that node: systemctl status simpd; curl -s http://127.0.0.1:7480/readyz")
	}
	all := doctor.Examine(resp, time.Now())
	if a.printsJSON() {
		if err := a.printStruct(all); err != nil {
			return err
		}
	} else {
		a.printFindings(resp, all)
	}
	for _, f := range all {
		if !f.Hint {
			return errIll
		}
	}
	return nil
}

func (a *app) printFindings(resp *simpv1.StatusResponse, all []doctor.Finding) {
	for _, f := range all {
		word, in := "wrong", red
		if f.Hint {
			word, in = "hint", yellow
		}
		fmt.Fprintf(a.out, "%s  %s: %s\n       %s\n", a.colorize(in, fmt.Sprintf("%-5s", word)), cli.Escape(f.About), cli.Escape(f.What), a.colorize(bold, cli.Escape(f.Mend)))
	}
	if len(all) == 0 {
		fmt.Fprintf(a.out, "%s  %s\n", a.colorize(green, "well"), cli.Escape(resp.Summary))
	}
}
