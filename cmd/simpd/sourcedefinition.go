package main

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"simpd/cluster/accounts"
)

// sourceDefinition is one source of an accounts file.
type sourceDefinition struct {
	name   string
	create func(sourceEnv) (accounts.Source, error)
	values map[string][]string // by key
	files  []string            // that the values name
}

// madeSource is a source in use, with the fingerprint of what it was made of.
type madeSource struct {
	accounts.Source
	fingerprint [sha256.Size]byte
}

// addKey records the values of a key.
func (d *sourceDefinition) addKey(k *sourceKey, values []string) {
	d.values[k.name] = values
	if k.arg == "FILE" {
		d.files = append(d.files, values...)
	}
}

// newSource makes the source.
func (d *sourceDefinition) newSource(env sourceEnv) (accounts.Source, error) {
	env.name = d.name
	return d.create(env)
}

// fingerprint returns a hash of the keys, and of the files that they name. A file
// that can't be read counts as empty: newSource says why.
func (d *sourceDefinition) fingerprint() (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(d.values)) {
		fmt.Fprintf(h, "%q %q\n", key, d.values[key])
	}
	for _, file := range d.files {
		content, _ := os.ReadFile(file)
		fmt.Fprintln(h, strconv.Quote(string(content)))
	}
	h.Sum(sum[:0])
	return sum
}

// newSet makes the sources, except those that old, which may be nil, has made of
// the same: these go on.
func (f *accountsFile) newSet(env sourceEnv, old *accountsFile) (accounts.Set, error) {
	set := accounts.Set{Sources: map[string]accounts.Source{}, Domains: f.domains}
	var fresh []accounts.Source
	f.made = map[string]madeSource{}
	for name, d := range f.sources {
		made := madeSource{fingerprint: d.fingerprint()} // before it is made: a later change of a file shows next time
		if old != nil && old.made[name].Source != nil && old.made[name].fingerprint == made.fingerprint {
			made.Source = old.made[name].Source
		} else {
			var err error
			if made.Source, err = d.newSource(env); err != nil {
				for _, s := range fresh {
					s.Close()
				}
				return accounts.Set{}, fmt.Errorf("account source %s: %w", name, err)
			}
			fresh = append(fresh, made.Source)
		}
		f.made[name], set.Sources[name] = made, made.Source
	}
	return set, nil
}
