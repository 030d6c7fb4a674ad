package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// setting holds the words that somebody wrote for one option, not parsed yet.
type setting struct {
	values []string
	at     source
}

// settings holds what was written, by the option's name, and which of it is no
// good.
type settings struct {
	made map[string]setting
	bad  map[string]bool
}

// areValid reports whether all the options are either absent or well written.
func (s settings) areValid(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return s.bad[n] })
}

// isAbsent reports whether nobody wrote anything for the option.
func (s settings) isAbsent(name string) bool {
	_, made := s.made[name]
	return !made && !s.bad[name]
}

// loadConfig makes the configuration of file (may be empty), the environment and
// flags (may be nil): a flag counts more than a variable, and that more than
// the file. It returns what it could make, and all that is wrong: that of the
// file first and in the order of its lines, that of the accounts file last.
func loadConfig(file string, env func(string) (string, bool), flags *pflag.FlagSet) (*config, problems) {
	table := allOptions()
	s := settings{map[string]setting{}, map[string]bool{}}
	var wrong problems
	if file != "" {
		found, err := readFile(file, table, s)
		if err != nil {
			return nil, problems{*err}
		}
		wrong = found
	}
	readEnvironment(env, table, s)
	readFlags(flags, s)
	c := &config{as: map[string][]string{}}
	for _, o := range table {
		if p := o.applyTo(c, s); p != nil {
			s.bad[o.name] = true
			wrong = append(wrong, *p)
		}
	}
	wrong = append(wrong, validateConfig(c, s)...)
	slices.SortStableFunc(wrong, func(a, b problem) int {
		return cmp.Or(
			cmp.Compare(boolValue(a.isInside(c.accountsPath)), boolValue(b.isInside(c.accountsPath))),
			cmp.Compare(uint(a.at.line-1), uint(b.at.line-1)))
	})
	return c, wrong
}

// applyTo puts what was written for o into c, or else what is standard.
func (o *option) applyTo(c *config, s settings) *problem {
	m, ok := s.made[o.name]
	if !ok {
		m = setting{values: o.defaults(), at: source{name: o.key()}}
	}
	if len(m.values) == 0 {
		return nil
	}
	c.as[o.name] = m.values
	if err := o.set(c, m.values); err != nil {
		return &problem{at: m.at, text: withPrefix(m.at.name, textWithoutStatus(err)), usage: strings.HasPrefix(m.at.name, "--")}
	}
	return nil
}

// readEnvironment takes the variables that are set and not empty. A list is
// written with commas.
func readEnvironment(env func(string) (string, bool), table []option, s settings) {
	for _, o := range table {
		v, ok := env(o.variable())
		if !ok || v == "" {
			continue
		}
		values := []string{v}
		if o.form == list {
			values = splitList(v)
		}
		delete(s.bad, o.name)
		s.made[o.name] = setting{values, source{name: o.variable()}}
	}
}

func splitList(v string) []string {
	values := strings.Split(v, ",")
	for i := range values {
		values[i] = strings.TrimSpace(values[i])
	}
	return slices.DeleteFunc(values, func(s string) bool { return s == "" })
}

func readFlags(flags *pflag.FlagSet, s settings) {
	if flags == nil {
		return
	}
	flags.Visit(func(f *pflag.Flag) {
		if v, ok := f.Value.(*flagValue); ok {
			delete(s.bad, f.Name)
			s.made[f.Name] = setting{v.values, source{name: "--" + f.Name}}
		}
	})
}

// flagValue gathers what a flag was given, unchecked: what is wrong with it
// is said together with the rest.
type flagValue struct {
	option
	values []string
}

func (v *flagValue) String() string { return v.standard }

func (v *flagValue) Set(s string) error {
	if v.form != list {
		v.values = v.values[:0]
	}
	v.values = append(v.values, s)
	return nil
}

// Type returns the word that stands for the value in the help.
func (v *flagValue) Type() string {
	if v.form == toggle {
		return "bool"
	}
	return v.arg
}

// addFlags makes a flag of every option.
func addFlags(flags *pflag.FlagSet) {
	flags.SortFlags = false
	for _, o := range allOptions() {
		f := flags.VarPF(&flagValue{option: o}, o.name, "", o.help)
		if o.form == toggle {
			f.NoOptDefVal = "true"
		}
	}
}
