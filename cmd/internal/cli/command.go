package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// UsageError is an error of a command line that can't be understood.
type UsageError struct{ text string }

func (e *UsageError) Error() string { return e.text }

// UsageErrorf returns a *UsageError.
func UsageErrorf(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Failure marks an error as no fault of the command line.
type Failure struct{ error }

// Unwrap returns the error itself.
func (f Failure) Unwrap() error { return f.error }

// Failed returns err, if it is one, as a Failure.
func Failed(err error) error {
	if err == nil {
		return nil
	}
	return Failure{err}
}

// RootCommand returns the command of a program that has commands below it.
// Errors of flags are *UsageError, and nothing is printed about errors.
func RootCommand(use, short, long string) *cobra.Command {
	root := CommandGroup(use, short, long)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return UsageErrorf("%s; see %s --help", FlagError(err), c.CommandPath())
	})
	return root
}

// CommandGroup returns a command that only has commands below it.
func CommandGroup(use, short, long string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Args: cobra.ArbitraryArgs}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return UsageErrorf("a command is missing; the commands are %s", strings.Join(subcommandNames(c), ", "))
		}
		return UnknownCommand(c, args[0])
	}
	c.AddCommand(below...)
	return c
}

// UnknownCommand returns the error for a name that no command below c has.
func UnknownCommand(c *cobra.Command, name string) error {
	c.SuggestionsMinimumDistance = max(1, min(2, len(name)/3)) // a short word resembles many
	if like := c.SuggestionsFor(name); len(like) > 0 {
		return UsageErrorf("unknown command %[2]q of %[1]s; did you mean %[3]q?", c.CommandPath(), name, like[0])
	}
	return UsageErrorf("unknown command %[2]q of %[1]s; the commands are %[3]s", c.CommandPath(), name, strings.Join(subcommandNames(c), ", "))
}

func subcommandNames(c *cobra.Command) (list []string) {
	for _, below := range c.Commands() {
		if below.IsAvailableCommand() {
			list = append(list, below.Name())
		}
	}
	return list
}

// ArgumentCount checks how many arguments there are, and says in an error what
// they have to be. If most is negative, there may be any number.
func ArgumentCount(least, most int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return UsageErrorf("%s requires %s", c.CommandPath(), what)
		case most >= 0 && len(args) > most:
			return UsageErrorf("%s: unexpected argument %q; it takes %s", c.CommandPath(), args[most], what)
		}
		return nil
	}
}

// SetFromEnvironment sets the named flags that were not given to the values of
// their variables: with the prefix SIMP_, --tls-ca to that of SIMP_TLS_CA. They
// count as changed then.
func SetFromEnvironment(f *pflag.FlagSet, prefix string, env func(string) string, names ...string) error {
	for _, name := range names {
		variable := prefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		value := env(variable)
		if value == "" || f.Changed(name) {
			continue
		}
		if f.Set(name, value) != nil {
			return UsageErrorf("%s", VariableError(variable, value, f.Lookup(name)))
		}
	}
	return nil
}
