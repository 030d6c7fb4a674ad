// Package manual writes the manual pages of our programs from what their
// commands say of themselves.
package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command returns the command man, for the root of a program.
func Command() *cobra.Command {
	return &cobra.Command{
		Use: "man FOLDER", Short: "Write manual pages", Args: cobra.ExactArgs(1),
		Long: "Man writes a manual page in troff for each command to a folder.",
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return write(c.Root(), args[0])
		},
	}
}

// write writes the pages of c and of all below it.
func write(c *cobra.Command, dir string) error {
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	if err := os.WriteFile(filepath.Join(dir, name+".1"), []byte(page(c, name)), 0o644); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		if err := write(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

func page(c *cobra.Command, name string) string {
	var p strings.Builder
	fmt.Fprintf(&p, ".TH %s 1 \"\" simpd \"SIMP manual\"\n", strings.ToUpper(troff(name)))
	fmt.Fprintf(&p, ".SH NAME\n%s \\- %s\n", troff(name), troff(c.Short))
	fmt.Fprintf(&p, ".SH SYNOPSIS\n.B %s\n", troff(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	p.WriteString(".SH DESCRIPTION\n" + paragraphs(long))
	flags(&p, "OPTIONS", c.NonInheritedFlags())
	flags(&p, "OPTIONS OF ALL COMMANDS", c.InheritedFlags())
	below(&p, c)
	return p.String()
}

// paragraphs writes text; lines that are indented are shown as they stand.
func paragraphs(text string) string {
	var p strings.Builder
	for _, block := range strings.Split(text, "\n\n") {
		p.WriteString(".PP\n")
		if strings.HasPrefix(block, "    ") {
			p.WriteString(".nf\n" + troff(block) + "\n.fi\n")
			continue
		}
		p.WriteString(troff(block) + "\n")
	}
	return p.String()
}

func flags(p *strings.Builder, title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	p.WriteString(".SH " + title + "\n")
	set.VisitAll(func(f *pflag.Flag) {
		arg, help := pflag.UnquoteUsage(f)
		fmt.Fprintf(p, ".TP\n.B %s\n%s\n", troff(strings.TrimSpace("--"+f.Name+" "+arg)), troff(help))
	})
}

func below(p *strings.Builder, c *cobra.Command) {
	var list []string
	if c.HasParent() {
		list = append(list, strings.ReplaceAll(c.Parent().CommandPath(), " ", "-")+"(1)")
	}
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			list = append(list, strings.ReplaceAll(sub.CommandPath(), " ", "-")+"(1)")
		}
	}
	p.WriteString(".SH SEE ALSO\n" + troff(strings.Join(list, ", ")) + "\n")
}

// troff escapes what troff would take for its own.
func troff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
