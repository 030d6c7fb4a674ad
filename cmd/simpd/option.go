package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// option is one setting of simpd serve. One table of them (options) makes the
// flag --some-name, the key some_name of the configuration file, the variable
// SIMPD_SOME_NAME of the environment, and the table in docs/configuration.md.
type option struct {
	name     string // the flag's
	arg      string // what stands for its value in the help
	help     string
	standard string // the value where none is given; of a list, one with commas
	form     form
	reload   bool // SIGHUP reads it again
	// set puts the values, never none, into c. Its error says what is wrong
	// with them, in words that follow "NAME: ".
	set func(c *config, values []string) error
}

// form is the syntax of a setting.
type form uint8

const (
	text   form = iota // one word
	number             // digits
	list               // any number of words
	toggle             // true or false; --name alone is true
)

func (f form) String() string {
	return [...]string{"one value", "a number", "a list", "true or false"}[f]
}

func (o *option) key() string      { return strings.ReplaceAll(o.name, "-", "_") }
func (o *option) variable() string { return "SIMPD_" + strings.ToUpper(o.key()) }

// defaults returns the values that hold where none is given.
func (o *option) defaults() []string {
	if o.standard == "" {
		return nil
	}
	return strings.Split(o.standard, ",")
}

// The functions below make an option's set: where the value goes, and what it
// has to look like.

func toText(field func(*config) *string) func(*config, []string) error {
	return func(c *config, v []string) error {
		*field(c) = v[0]
		return nil
	}
}

func toTexts(field func(*config) *[]string) func(*config, []string) error {
	return func(c *config, v []string) error {
		if slices.Contains(v, "") {
			return fmt.Errorf("an empty value")
		}
		*field(c) = v
		return nil
	}
}

// off is the value of a setting that is not wanted.
const off = "off"

// toListen takes HOST:PORT, or "off".
func toListen(field func(*config) *string) func(*config, []string) error {
	return func(c *config, v []string) error {
		if v[0] == off {
			return nil
		}
		if err := checkHostPort(v[0]); err != nil {
			return err
		}
		*field(c) = v[0]
		return nil
	}
}

func checkHostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("invalid address %q: must be HOST:PORT, like 127.0.0.1:7467", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("invalid address %q: the port must be a number up to 65535", s)
	}
	return nil
}

// toPeers takes HOST:PORTs that can be called, so with a host each.
func toPeers(field func(*config) *[]string) func(*config, []string) error {
	return func(c *config, v []string) error {
		for _, s := range v {
			if err := checkPeer(s); err != nil {
				return err
			}
		}
		*field(c) = v
		return nil
	}
}

func checkPeer(s string) error {
	if err := checkHostPort(s); err != nil {
		return err
	}
	if host, port, _ := net.SplitHostPort(s); host == "" || port == "0" {
		return fmt.Errorf("%q is not a dialable host:port", s)
	}
	return nil
}

func toToggle(field func(*config) *bool) func(*config, []string) error {
	return func(c *config, v []string) (err error) {
		if *field(c), err = strconv.ParseBool(v[0]); err != nil {
			return fmt.Errorf("%q is neither true nor false", v[0])
		}
		return nil
	}
}

// Bounds of --idle: PINGs shall neither be a load nor find out too late who is
// gone.
const (
	minIdle = 10 * time.Second
	maxIdle = time.Hour
)

func setIdle(c *config, v []string) error {
	if err := toDuration(func(c *config) *time.Duration { return &c.idle }, minIdle)(c, v); err != nil {
		return err
	}
	switch {
	case c.idle > maxIdle:
		return fmt.Errorf("%v is too long: must be at most %v", c.idle, maxIdle)
	case c.idle%time.Second != 0:
		return fmt.Errorf("%v is not a number of whole seconds", c.idle)
	}
	return nil
}

func toDuration(field func(*config) *time.Duration, least time.Duration) func(*config, []string) error {
	return func(c *config, v []string) error {
		d, err := time.ParseDuration(v[0])
		if err != nil {
			return fmt.Errorf("invalid duration %q: must be like 30s or 1m30s", v[0])
		}
		if d < least {
			return fmt.Errorf("%v is too short: must be at least %v", d, least)
		}
		*field(c) = d
		return nil
	}
}

// toNumber takes one of the numbers.
func toNumber(field func(*config) *int, among ...int) func(*config, []string) error {
	return func(c *config, v []string) error {
		n, err := strconv.Atoi(v[0])
		if err != nil || !slices.Contains(among, n) {
			return fmt.Errorf("%q is not one of %s", v[0], strings.Trim(fmt.Sprint(among), "[]"))
		}
		*field(c) = n
		return nil
	}
}

// toWord takes one of the words.
func toWord(field func(*config) *string, among ...string) func(*config, []string) error {
	return func(c *config, v []string) error {
		if !slices.Contains(among, v[0]) {
			return fmt.Errorf("%q is not one of %s", v[0], strings.Join(among, ", "))
		}
		*field(c) = v[0]
		return nil
	}
}

func toNetworks(field func(*config) *[]netip.Prefix) func(*config, []string) error {
	return func(c *config, v []string) error {
		for _, s := range v {
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return fmt.Errorf("invalid network %q: must be like 10.1.0.0/16 or fd00::/8", s)
			}
			*field(c) = append(*field(c), p.Masked())
		}
		return nil
	}
}
