package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// kind is what a ticket is for.
type kind byte

// The kinds of tickets. A ticket of one kind is never taken for another.
const (
	linkTicket     kind = 'l' // in a link that simpctl prints
	handOverTicket kind = 'h' // in a link from the console of one node to that of another
	sessionTicket  kind = 's' // in the cookie
)

// How long tickets are valid.
const (
	linkLife     = time.Minute
	handOverLife = 10 * time.Minute
	idleTimeout  = 30 * time.Minute
	// maxSkew is how far the clock of the node that made a session's cookie may
	// be ahead.
	maxSkew = 5 * time.Minute
	// renewAfter is the age from which a cookie is made anew when it is used.
	renewAfter = time.Minute
)

// idOctets is the length of a ticket's id.
const idOctets = 16

// ticket is what a node signs: that somebody may do something for a while. Every
// node of the site can check it.
type ticket struct {
	kind       kind
	id         [idOctets]byte // random: no two are the same
	generation uint64         // of revocations
	// made is when it was made; of a session, when it was last used.
	made time.Time
	// until is when a link ends; zero for a session, which ends by idleness.
	until time.Time
	end   time.Time // of the credentials that it was made for; zero: they have none
	node  string    // that alone takes a hand-over; empty: every node
	name  string    // whose it is
	roles []string
}

// roleLetters stand for the roles in a ticket. A letter never changes.
var roleLetters = map[string]byte{
	"presence:read": 'p', "message:send": 'm', "account:admin": 'a', "cluster:admin": 'c', "cluster:read": 'r', "abuse:admin": 'b',
}

var (
	errNoTicket = errors.New("it is not one of this site's")
	errVoid     = errors.New("all sessions and links were revoked")
	errExpired  = errors.New("its time is over")
)

// newID returns a random id.
func newID() (id [idOctets]byte) {
	rand.Read(id[:]) // never fails
	return id
}

// encode returns the ticket as octets.
func (t *ticket) encode() []byte {
	b := append([]byte{1, byte(t.kind)}, t.id[:]...)
	for _, n := range []uint64{t.generation, milli(t.made), milli(t.until), milli(t.end)} {
		b = binary.AppendUvarint(b, n)
	}
	for _, s := range []string{t.node, t.name, encodeRoles(t.roles)} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func encodeRoles(roles []string) string {
	var letters []byte
	for _, r := range roles {
		if letter, ok := roleLetters[r]; ok {
			letters = append(letters, letter)
		}
	}
	return string(letters)
}

func decodeRoles(letters string) (roles []string) {
	for name, letter := range roleLetters {
		if strings.IndexByte(letters, letter) >= 0 {
			roles = append(roles, name)
		}
	}
	slices.Sort(roles)
	return roles
}

// milli returns a time in milliseconds since 1970; 0 for the zero time.
func milli(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli())
}

func fromMilli(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms))
}

// decodeTicket reads what encode has written. It takes nothing for granted: the
// signature is checked later, as the key depends on the generation.
func decodeTicket(b []byte) (*ticket, error) {
	const head = 2 + idOctets
	if len(b) < head || b[0] != 1 {
		return nil, errNoTicket
	}
	t := &ticket{kind: kind(b[1]), id: [idOctets]byte(b[2:head])}
	b = b[head:]
	var numbers [4]uint64
	for i := range numbers {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > 1<<53 {
			return nil, errNoTicket
		}
		numbers[i], b = n, b[size:]
	}
	t.generation, t.made, t.until, t.end = numbers[0], fromMilli(numbers[1]), fromMilli(numbers[2]), fromMilli(numbers[3])
	var texts [3]string
	for i := range texts {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) || !utf8.Valid(b[size:size+int(n)]) {
			return nil, errNoTicket
		}
		texts[i], b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	t.node, t.name, t.roles = texts[0], texts[1], decodeRoles(texts[2])
	if len(b) > 0 {
		return nil, errNoTicket
	}
	return t, nil
}

// maxTicket is the length of a ticket above which it is none: its parts are
// bounded, and a cookie has at most 4096 octets.
const maxTicket = 2048

// Keys signs tickets with a key made from the site's secret, which is on every
// node and in no backup, and from the secret that the newest revocation brought:
// whoever has read a node's disk before it can't make the key. Methods may be
// called from any goroutine.
type Keys struct {
	site       func() []byte // the site's secret; empty before there is a site
	revocation func() (generation uint64, secret []byte)
}

// NewKeys returns keys made from the site's secret, which is empty before there
// is a site, and the newest revocation: how many there were, and its secret.
func NewKeys(site func() []byte, revocation func() (generation uint64, secret []byte)) *Keys {
	return &Keys{site, revocation}
}

func (k *Keys) sign(payload []byte, generation uint64, secret []byte) []byte {
	key := hmac.New(sha256.New, k.site())
	key.Write(binary.BigEndian.AppendUint64([]byte("simp console 1\x00"), generation))
	key.Write(secret)
	mac := hmac.New(sha256.New, key.Sum(nil))
	mac.Write(payload)
	return mac.Sum(nil)
}

// seal returns the ticket as text, in the present generation.
func (k *Keys) seal(t *ticket) string {
	generation, secret := k.revocation()
	t.generation = generation
	payload := t.encode()
	return base64.RawURLEncoding.EncodeToString(append(payload, k.sign(payload, generation, secret)...))
}

// open returns the ticket of that kind that text holds, if it is valid now.
func (k *Keys) open(text string, wanted ...kind) (*ticket, error) {
	if len(text) > maxTicket || len(k.site()) == 0 {
		return nil, errNoTicket
	}
	// Strict: another spelling of the last octet would be another text of the
	// same ticket.
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) <= sha256.Size {
		return nil, errNoTicket
	}
	payload, mac := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	t, err := decodeTicket(payload)
	if err != nil {
		return nil, err
	}
	generation, secret := k.revocation()
	if t.generation < generation {
		return nil, errVoid // its key can't be made any more: it may be forged, so that it names nobody
	}
	if !hmac.Equal(mac, k.sign(payload, t.generation, secret)) || strings.IndexByte(string(kindsOf(wanted)), byte(t.kind)) < 0 {
		return nil, errNoTicket
	}
	return t, k.check(t, time.Now())
}

func (k *Keys) generation() uint64 {
	generation, _ := k.revocation()
	return generation
}

func kindsOf(wanted []kind) (all []byte) {
	for _, one := range wanted {
		all = append(all, byte(one))
	}
	return all
}

// check returns why a ticket that this site has signed is not valid any more.
func (k *Keys) check(t *ticket, now time.Time) error {
	switch {
	case t.generation != k.generation():
		return errVoid
	case !t.end.IsZero() && !now.Before(t.end):
		return errExpired
	case t.kind == sessionTicket && (now.Sub(t.made) >= idleTimeout || t.made.Sub(now) > maxSkew):
		return errExpired
	case t.kind != sessionTicket && !now.Before(t.until):
		return errExpired
	}
	return nil
}
