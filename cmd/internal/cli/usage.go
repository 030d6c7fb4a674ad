package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/pflag"
)

// FlagError returns what a flag's error means to people, who know nothing of
// the package that has read the value.
func FlagError(err error) string {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err.Error()
	}
	f := invalid.GetFlag()
	return fmt.Sprintf("invalid --%s %q: %s", f.Name, invalid.GetValue(), valueRule(f))
}

// VariableError returns what an error of a flag means whose value came from the
// environment.
func VariableError(variable, value string, f *pflag.Flag) string {
	return fmt.Sprintf("invalid %s=%q: %s", variable, value, valueRule(f))
}

// IsHostPort reports whether s is HOST:PORT, with a port that there is.
func IsHostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// valueRule says which values a flag takes.
func valueRule(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "bool":
		return "must be true or false"
	case "duration":
		return "must be a duration with its unit, such as 5s or 1m30s"
	case "int", "int64", "uint", "uint64", "count":
		return "must be a whole number"
	}
	return "must be a " + f.Value.Type()
}
