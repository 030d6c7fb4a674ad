package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"simpd/protocol"
)

// Versions says what a program was made from.
type Versions struct {
	Version  string `json:"version"` // of the module, as git tags it
	Commit   string `json:"commit"`
	Time     string `json:"time"` // of the commit
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Protocol string `json:"protocol"`
}

// ReadVersions reads what the Go tool stamped into the program.
func ReadVersions() Versions {
	v := Versions{Version: "unknown", Commit: "unknown", Protocol: protocol.Version}
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

// print writes the versions for people.
func (v Versions) print(w io.Writer, program string) error {
	changed := ""
	if v.Modified {
		changed = ", with changes"
	}
	_, err := fmt.Fprintf(w, "%s %s (commit %s%s)\nprotocol %s, built with %s\n", program, v.Version, v.Commit, changed, v.Protocol, v.Go)
	return err
}

// AddVersion gives a program the command version, and --version on its root,
// which print the same. output returns what --output says; of the values text
// and json it must have been checked. A nil output gives the command a flag of
// its own.
func AddVersion(root *cobra.Command, output func() string) {
	program := root.Name()
	own := "text"
	c := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs}
	if output == nil {
		output = func() string { return own }
		c.Flags().StringVarP(&own, "output", "o", own, "text or json")
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch output() {
		case "json":
			return json.NewEncoder(c.OutOrStdout()).Encode(ReadVersions())
		case "text":
			return ReadVersions().print(c.OutOrStdout(), program)
		}
		return fmt.Errorf("invalid --output %q: must be text or json", output())
	}
	root.AddCommand(c)
	var text strings.Builder
	_ = ReadVersions().print(&text, program) // a Builder takes everything
	root.Version = text.String()
	root.SetVersionTemplate("{{.Version}}")
}
