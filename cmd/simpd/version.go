package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"simpd/protocol"
)

// versions says what this program was made of.
type versions struct {
	Version  string `json:"version"` // of the module, as git tags it
	Commit   string `json:"commit"`
	Time     string `json:"time"` // of the commit
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Protocol string `json:"protocol"`
}

// readVersions takes it from what the Go tool stamped into the program.
func readVersions() versions {
	v := versions{Version: "unknown", Commit: "unknown", Protocol: protocol.Version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version, v.Go = info.Main.Version, info.GoVersion
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

func (v versions) print(w io.Writer) error {
	changed := ""
	if v.Modified {
		changed = ", with changes"
	}
	_, err := fmt.Fprintf(w, "simpd %s (commit %s%s)\nprotocol %s, built with %s\n", v.Version, v.Commit, changed, v.Protocol, v.Go)
	return err
}

func versionCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "say which version this is",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if output == "json" {
				return failed(json.NewEncoder(c.OutOrStdout()).Encode(readVersions()))
			}
			return failed(readVersions().print(c.OutOrStdout()))
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return fmt.Errorf("--output %q is neither text nor json", output)
	}
	return nil
}
