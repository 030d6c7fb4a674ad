package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"simpd/cmd/internal/cli"
)

func checkConfigCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check-config --config FILE",
		Short: "check a configuration, and show each problem with its file, line and a suggestion",
		Long: "Reports everything that is wrong with a configuration file, taking into account\n" +
			"the variables of the environment. Exits with 0 if nothing is wrong, and with 1\n" +
			"otherwise.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return errors.New("--config is missing: name the file to check")
			}
			return checkConfig(c.OutOrStdout(), file, os.LookupEnv)
		},
	}
	c.Flags().StringVar(&file, "config", "", "the configuration file")
	return c
}

// checkConfig writes every problem, with the line where it is.
func checkConfig(w io.Writer, file string, env func(string) (string, bool)) error {
	conf, wrong := loadConfig(file, env, nil)
	for _, p := range wrong {
		if p.at.file == "" {
			p.at = source{file: file}
		}
		fmt.Fprintf(w, "%s\n%s", cli.Escape(p.Error()), p.Excerpt())
	}
	if conf != nil {
		for _, text := range conf.warnings {
			fmt.Fprintf(w, "%s: warning: %s\n", file, text)
		}
	}
	switch len(wrong) {
	case 0:
		_, err := fmt.Fprintf(w, "%s: nothing is wrong\n", file)
		return cli.Failed(err)
	case 1:
		return cli.Failed(fmt.Errorf("%s: 1 problem", file))
	}
	return cli.Failed(fmt.Errorf("%s: %d problems", file, len(wrong)))
}
