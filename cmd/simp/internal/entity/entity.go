// Package entity makes the MIME entities of texts and reads, for people, those
// that arrive.
package entity

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/htmlindex"

	"simpd/cmd/internal/cli"
	"simpd/protocol/client"
)

// FromText makes the MIME entity of a text, whose lines end with CRLF.
func FromText(text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("the text is not valid UTF-8; send other things as a MIME entity, with --mime")
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return client.Text(strings.ReplaceAll(text, "\n", "\r\n")), nil
}

// Content holds the parts of a MIME entity that people read.
type Content struct {
	Kind   string // the media type
	Text   string // if IsText
	IsText bool
}

// malformed is the Kind of an entity that can't be read (RFC 2045).
const malformed = "malformed"

// Read reads an entity as far as it is plain text: of one with several
// parts the first that is. Everything else is named by its kind.
func Read(entity []byte) Content {
	header, body, ok := splitEntity(entity)
	if !ok {
		return Content{Kind: malformed}
	}
	const deepest = 4 // multiparts within one another
	return readPart(func(name, otherwise string) string { return headerField(header, name, otherwise) }, body, deepest)
}

// readPart reads an entity whose header fields get returns.
func readPart(get func(name, otherwise string) string, body []byte, depth int) Content {
	kind, params, err := mime.ParseMediaType(get("Content-Type", "text/plain; charset=utf-8"))
	if err != nil {
		return Content{Kind: malformed}
	}
	c := Content{Kind: kind}
	switch {
	case strings.HasPrefix(kind, "multipart/") && depth > 0:
		c.Text, c.IsText = findText(body, params["boundary"], depth-1)
	case kind == "text/plain":
		if decoded, ok := decodeTransfer(body, get("Content-Transfer-Encoding", "8bit")); ok {
			c.Text, c.IsText = decodeCharset(decoded, params["charset"])
		}
	}
	return c
}

// findText returns the first plain text of a multipart body (RFC 2046, section
// 5.1).
func findText(body []byte, boundary string, depth int) (text string, ok bool) {
	if boundary == "" {
		return "", false
	}
	parts := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		p, err := parts.NextRawPart()
		if err != nil {
			return "", false
		}
		part, err := io.ReadAll(p)
		if err != nil {
			return "", false
		}
		c := readPart(func(name, otherwise string) string { return cmp.Or(p.Header.Get(name), otherwise) }, part, depth)
		if c.IsText {
			return c.Text, true
		}
	}
}

// splitEntity separates the header from the body at the first empty line. It
// reports false if there is none, or if the header is not made of fields.
func splitEntity(entity []byte) (header, body []byte, ok bool) {
	if body, ok := bytes.CutPrefix(entity, []byte("\r\n")); ok {
		return nil, body, true
	}
	header, body, ok = bytes.Cut(entity, []byte("\r\n\r\n"))
	return header, body, ok && isHeader(header)
}

// isHeader reports whether each line is a header field or continues one (RFC
// 5322, section 2.2).
func isHeader(header []byte) bool {
	for i, line := range bytes.Split(header, []byte("\r\n")) {
		if i > 0 && bytes.HasPrefix(line, []byte(" ")) || i > 0 && bytes.HasPrefix(line, []byte("\t")) {
			continue
		}
		name, _, found := bytes.Cut(line, []byte(":"))
		isOdd := func(r rune) bool { return r <= ' ' || r > '~' }
		if !found || len(name) == 0 || bytes.ContainsFunc(name, isOdd) {
			return false
		}
	}
	return true
}

// headerField returns the value of the first header field of that name.
func headerField(header []byte, name, otherwise string) string {
	const most = 64 << 10 // octets of a header that are looked at
	header = header[:min(len(header), most)]
	unfolded := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(header))
	for line := range strings.SplitSeq(unfolded, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

func decodeTransfer(body []byte, encoding string) ([]byte, bool) {
	var r io.Reader
	switch strings.ToLower(encoding) {
	case "7bit", "8bit", "binary":
		return body, true
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body))
	case "quoted-printable":
		r = quotedprintable.NewReader(bytes.NewReader(body))
	default:
		return nil, false
	}
	decoded, err := io.ReadAll(r)
	return decoded, err == nil
}

func decodeCharset(body []byte, charset string) (string, bool) {
	switch strings.ToLower(charset) {
	case "", "utf-8", "us-ascii", "ascii":
		return string(body), utf8.Valid(body)
	}
	encoding, err := htmlindex.Get(charset)
	if err != nil {
		return "", false
	}
	text, err := encoding.NewDecoder().Bytes(body)
	return string(text), err == nil
}

// Describe says what a message is, for people, on a terminal.
func (c Content) Describe(octets int) string { return EscapeLines(c.Plain(octets)) }

// Plain is Describe without escaping: not for a terminal.
func (c Content) Plain(octets int) string {
	if c.IsText {
		return c.Text
	}
	unit := "octets"
	if octets == 1 {
		unit = "octet"
	}
	return cli.Escape(fmt.Sprintf("[%s, %d %s]", c.Kind, octets, unit))
}

// EscapeLines escapes a text of several lines (cli.EscapeText). The later ones are
// indented, so that none can pass for a line of this program's.
func EscapeLines(s string) string { return strings.Join(SplitLines(s), "\n    ") }

// SplitLines returns the lines of a text, each escaped (cli.EscapeText).
func SplitLines(s string) []string {
	lines := strings.Split(strings.ReplaceAll(strings.TrimRight(s, "\r\n"), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = cli.EscapeText(strings.ReplaceAll(line, "\t", "    "))
	}
	return lines
}
