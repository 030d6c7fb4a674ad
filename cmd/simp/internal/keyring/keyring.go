// Package keyring keeps what a person's programs know of keys, in files that
// only the person can read: the private key of this device, and, for each
// other user, the keys that were accepted, the newest head of their list, and
// the keys whose fingerprint was compared.
package keyring

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"simpd/protocol"
	"simpd/protocol/secretfile"
	"simpd/protocol/signature"
)

// ErrNoDevice means that this device has no key yet.
var ErrNoDevice = errors.New("this device has no key yet; simp key add makes one")

// The files of a user's folder.
const (
	deviceFile   = "device.pem"
	contactsFile = "keys.json"
)

// Keyring is a user's folder. Any goroutine may use it. Several programs may
// use it too; of what two of them remember at the same moment, one part may be
// lost, so that a key is shown as new once more.
type Keyring struct {
	dir string
	mu  sync.Mutex // held while contactsFile is changed
}

// Contact holds what is known of the keys of one user.
type Contact struct {
	// Accepted are the IDs of keys with which messages were accepted.
	Accepted []string `json:"accepted,omitempty"`
	// Verified are those of Accepted whose fingerprint was compared.
	Verified []string `json:"verified,omitempty"`
	// Head is that of the newest list that was accepted; empty: none.
	Head string `json:"head,omitempty"`
}

// Open returns the keyring of a user below base, which is a folder for the
// data of programs ($XDG_DATA_HOME). Nothing is made before it is needed. If
// base is empty, the keyring is empty and keeps nothing.
func Open(base string, user protocol.Address) *Keyring {
	if base == "" {
		return &Keyring{}
	}
	name := url.PathEscape(user.String())
	if len(name) > maxName {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:])
	}
	return &Keyring{dir: filepath.Join(base, "simp", name)}
}

// maxName is the length above which an address is hashed to be the name of a
// folder.
const maxName = 200

// Device returns the private key of this device; ErrNoDevice if it has none.
func (k *Keyring) Device() (ed25519.PrivateKey, error) {
	if k.dir == "" {
		return nil, ErrNoDevice
	}
	path := filepath.Join(k.dir, deviceFile)
	err := secretfile.Check(path)
	var octets []byte
	if err == nil {
		octets, err = os.ReadFile(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNoDevice
	case err != nil:
		return nil, err
	}
	block, _ := pem.Decode(octets)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("%s contains no private key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if private, ok := key.(ed25519.PrivateKey); ok && err == nil {
		return private, nil
	}
	return nil, fmt.Errorf("%s contains no private key for Ed25519", path)
}

// EnsureDevice returns the private key of this device, and makes one if it has
// none. made reports that it did.
func (k *Keyring) EnsureDevice() (key ed25519.PrivateKey, made bool, err error) {
	if key, err = k.Device(); !errors.Is(err, ErrNoDevice) {
		return key, false, err
	}
	if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, false, err
	}
	octets, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, false, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: octets})
	err = k.write(deviceFile, text, os.Link) // which fails if another program was faster
	if errors.Is(err, fs.ErrExist) {
		key, err = k.Device()
		return key, false, err
	}
	return key, true, err
}

// write makes a file as a whole, readable by the user only. place puts it in
// its place.
func (k *Keyring) write(name string, octets []byte, place func(from, to string) error) error {
	if k.dir == "" {
		return errors.New("there is no folder for keys: set XDG_DATA_HOME or HOME")
	}
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(k.dir, name+".*") // of mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(octets)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = place(f.Name(), filepath.Join(k.dir, name))
	}
	_ = os.Remove(f.Name()) // there is none after a rename
	return err
}

// contacts reads all that is known of other users.
func (k *Keyring) contacts() (map[string]Contact, error) {
	path := filepath.Join(k.dir, contactsFile)
	all := map[string]Contact{}
	if k.dir == "" {
		return all, nil
	}
	octets, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(octets, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("%s can't be read: %w", path, err)
	}
	return all, nil
}

// Contact returns what is known of a user's keys.
func (k *Keyring) Contact(user string) (Contact, error) {
	all, err := k.contacts()
	return all[user], err
}

// Knowledge returns the same as it enters the verdict on a message.
func (c Contact) Knowledge() signature.Knowledge {
	known := signature.Knowledge{KeyIDs: c.Accepted}
	if head, err := signature.ParseHead(c.Head); err == nil {
		known.Heads = []signature.Head{head}
	}
	return known
}

// IsVerified reports whether the key's fingerprint was compared.
func (c Contact) IsVerified(keyID string) bool { return slices.Contains(c.Verified, keyID) }

// Accept remembers a key with which a message of user was accepted, and the
// head of the list that has it.
func (k *Keyring) Accept(user, keyID string, head signature.Head) error {
	return k.change(user, func(c *Contact) {
		c.Head = head.String()
		addOnce(&c.Accepted, keyID)
	})
}

// SeeHead remembers a newer head of the list of a user of whom keys were
// accepted.
func (k *Keyring) SeeHead(user string, head signature.Head) error {
	return k.change(user, func(c *Contact) {
		if len(c.Accepted) > 0 {
			c.Head = head.String()
		}
	})
}

// Verify remembers that the fingerprint of a user's key was compared.
func (k *Keyring) Verify(user, keyID string, head signature.Head) error {
	return k.change(user, func(c *Contact) {
		c.Head = head.String()
		addOnce(&c.Accepted, keyID)
		addOnce(&c.Verified, keyID)
	})
}

// Forget drops all that is known of a user's keys, as after their account was
// created again.
func (k *Keyring) Forget(user string) error {
	return k.change(user, func(c *Contact) { *c = Contact{} })
}

func (k *Keyring) change(user string, change func(*Contact)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := k.contacts()
	if err != nil {
		return err
	}
	c := all[user]
	before, err := json.Marshal(c)
	if err != nil {
		return err
	}
	c.Accepted, c.Verified = slices.Clone(c.Accepted), slices.Clone(c.Verified)
	change(&c)
	if after, err := json.Marshal(c); err != nil || string(after) == string(before) {
		return err // most messages change nothing
	}
	if all[user] = c; c.Head == "" && len(c.Accepted) == 0 {
		delete(all, user)
	}
	octets, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return k.write(contactsFile, append(octets, '\n'), os.Rename)
}

func addOnce(list *[]string, s string) {
	if !slices.Contains(*list, s) {
		*list = append(*list, s)
	}
}

// DevicePath returns where the private key of this device is.
func (k *Keyring) DevicePath() string { return filepath.Join(k.dir, deviceFile) }
