// Package blockfeed fetches lists of blocks, which others keep, by HTTPS. Each
// list is signed, or comes from a server whose key is pinned. Only the node that
// leads fetches; it replaces a feed's blocks by those of the list. A list that
// can't be had, or in which anything is wrong, changes nothing.
package blockfeed

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Source is where a feed's list is, and how it is verified. At least one of Key
// and Pin is set.
type Source struct {
	Name     string
	URL      string            // https; without a fragment
	Key      ed25519.PublicKey // has signed the list; nil: it is not signed
	Pin      []byte            // SHA-256 of the server's public key (SPKI); nil: authorities vouch for the server
	Interval time.Duration     // between two fetches
}

// The bounds of what a source says.
const (
	MaxSources      = 16
	maxName         = 32
	maxURL          = 2048
	DefaultInterval = time.Hour
	minInterval     = 5 * time.Minute
	maxInterval     = 24 * time.Hour
)

// ParseSource reads NAME=URL#key=BASE64, with pin=BASE64 instead of or besides
// the key, and &interval=DURATION after them.
func ParseSource(s string) (Source, error) {
	name, address, ok := strings.Cut(s, "=")
	if !ok || !isName(name) {
		return Source{}, fmt.Errorf("invalid feed %q: must be NAME=URL#key=BASE64 or NAME=URL#pin=BASE64; a name has 1 to %d small letters, digits, - and _", s, maxName)
	}
	address, settings, _ := strings.Cut(address, "#")
	f := Source{Name: name, URL: address, Interval: DefaultInterval}
	if err := checkURL(address); err != nil {
		return Source{}, err
	}
	for _, one := range strings.Split(settings, "&") {
		if one == "" {
			continue
		}
		setting, value, _ := strings.Cut(one, "=")
		if err := f.set(setting, value); err != nil {
			return Source{}, err
		}
	}
	if f.Key == nil && f.Pin == nil {
		return Source{}, fmt.Errorf("the feed %s has neither a key nor a pin: write #key=BASE64 or #pin=BASE64 after its URL", name)
	}
	return f, nil
}

func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || len(s) > maxURL {
		return fmt.Errorf("invalid URL %q: must look like https://lists.example/blocks.txt", s)
	}
	return nil
}

// set reads one of the settings after the URL.
func (f *Source) set(setting, value string) (err error) {
	switch setting {
	case "key":
		f.Key, err = parseOctets("key", value, ed25519.PublicKeySize, "an Ed25519 public key")
	case "pin":
		f.Pin, err = parseOctets("pin", value, sha256.Size, "the SHA-256 of a server's public key")
	case "interval":
		if f.Interval, err = time.ParseDuration(value); err != nil || f.Interval < minInterval || f.Interval > maxInterval {
			return fmt.Errorf("invalid interval %q: must be a duration from 5m to 24h", value)
		}
	default:
		return fmt.Errorf("unknown setting %q of a feed: must be key, pin or interval", setting)
	}
	return err
}

func parseOctets(setting, value string, size int, what string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil || len(b) != size {
		return nil, fmt.Errorf("invalid %s %q: must be %s, %d octets in Base64", setting, value, what, size)
	}
	return b, nil
}

// String returns the source as ParseSource reads it.
func (f *Source) String() string {
	var settings []string
	if f.Key != nil {
		settings = append(settings, "key="+base64.StdEncoding.EncodeToString(f.Key))
	}
	if f.Pin != nil {
		settings = append(settings, "pin="+base64.StdEncoding.EncodeToString(f.Pin))
	}
	if f.Interval != DefaultInterval {
		settings = append(settings, "interval="+f.Interval.String())
	}
	return f.Name + "=" + f.URL + "#" + strings.Join(settings, "&")
}
