package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// Claims holds what a signature covers beside the entity.
type Claims struct {
	From string   // the sender
	To   []string // all recipients
	ID   string   // the message's id
	Time time.Time
}

// MaxDest limits the recipients of a signed message, as the server does.
const MaxDest = 64

// maxSeconds is the end of the year 9999, the last that times on the wire have.
const maxSeconds = 253402300799

// protected is a decoded protected header (RFC 7515, section 4).
type protected struct {
	Claims
	keyID string
}

// encodeProtected returns the JSON object of the contract. All strings are
// addresses and tokens, which JSON writes as they are or escapes.
func encodeProtected(c Claims, keyID string) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Alg  string   `json:"alg"`
		KID  string   `json:"kid"`
		B64  bool     `json:"b64"`
		Crit []string `json:"crit"`
		Orig string   `json:"orig"`
		Dest []string `json:"dest"`
		ID   string   `json:"id"`
		IAT  int64    `json:"iat"`
	}{"EdDSA", keyID, false, []string{"b64"}, c.From, c.To, c.ID, c.Time.Unix()})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// decodeProtected decodes and checks a protected header as it was received.
// Members that it does not know are ignored (RFC 7515, section 4), unless crit
// names them; a member that is there twice is an error. Errors quote nothing of
// the header: it is the sender's, and recipients read them.
func decodeProtected(encoded []byte) (p protected, err error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(string(encoded))
	if err != nil {
		return p, errors.New("the protected header is not base64url")
	}
	if !utf8.Valid(text) { // encoding/json would replace it
		return p, errors.New("the protected header is not UTF-8")
	}
	members, err := decodeObject(text)
	if err != nil {
		return p, err
	}
	return p, p.readMembers(members)
}

// decodeObject splits a JSON object into its members. It accepts no member
// twice, and nothing after the object.
func decodeObject(text []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("the protected header is not a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for decoder.More() {
		t, err := decoder.Token()
		if err != nil {
			return nil, errors.New("the protected header is not valid JSON")
		}
		name, _ := t.(string)
		if _, twice := members[name]; twice {
			return nil, errors.New("the protected header has a member twice")
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, errors.New("the protected header is not valid JSON")
		}
		members[name] = value
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return nil, errors.New("the protected header is not valid JSON")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("octets follow the protected header's object")
	}
	return members, nil
}

// readMembers checks the members that must be there, and keeps the claims.
func (p *protected) readMembers(members map[string]json.RawMessage) error {
	var alg string
	var b64 bool
	var crit []string
	var iat json.Number
	for _, m := range []struct {
		name string
		into any
	}{
		{"alg", &alg}, {"kid", &p.keyID}, {"b64", &b64}, {"crit", &crit},
		{"orig", &p.From}, {"dest", &p.To}, {"id", &p.ID}, {"iat", &iat},
	} {
		value, given := members[m.name]
		if !given || bytes.Equal(value, []byte("null")) || json.Unmarshal(value, m.into) != nil {
			return fmt.Errorf("the protected header's member %q is missing or has the wrong type", m.name)
		}
	}
	switch {
	case alg != "EdDSA":
		return errors.New("the algorithm (alg) is not EdDSA")
	case b64:
		return errors.New("the payload is encoded (b64)")
	case len(crit) != 1 || crit[0] != "b64":
		return errors.New("the extensions (crit) are others than b64")
	case len(p.To) == 0 || len(p.To) > MaxDest:
		return errors.New("the number of recipients (dest) is out of range")
	}
	seconds, err := strconv.ParseInt(iat.String(), 10, 64)
	if err != nil || bytes.HasPrefix(members["iat"], []byte(`"`)) || seconds < 0 || seconds > maxSeconds {
		return errors.New("the time (iat) is not a number of seconds")
	}
	p.Time = time.Unix(seconds, 0)
	return nil
}
