package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"
	"unicode/utf8"

	"simpd/protocol/client"
)

// textEntity makes the MIME entity of a text, whose lines end with CRLF.
func textEntity(text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("the text is not valid UTF-8; send other things as a MIME entity, with --mime")
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return client.Text(strings.ReplaceAll(text, "\n", "\r\n")), nil
}

// content is what a MIME entity has for people.
type content struct {
	kind   string // the media type
	text   string // if isText
	isText bool
}

// readEntity reads an entity as far as it is plain text. Everything else is
// named by its kind.
func readEntity(entity []byte) content {
	header, body := splitEntity(entity)
	kind, params, err := mime.ParseMediaType(field(header, "Content-Type", "text/plain; charset=utf-8"))
	if err != nil {
		return content{kind: "application/octet-stream"}
	}
	c := content{kind: kind}
	if kind != "text/plain" {
		return c
	}
	body, ok := decodeTransfer(body, field(header, "Content-Transfer-Encoding", "8bit"))
	if ok {
		c.text, c.isText = decodeCharset(body, params["charset"])
	}
	return c
}

// splitEntity parts the header from the body at the first empty line.
func splitEntity(entity []byte) (header, body []byte) {
	if body, ok := bytes.CutPrefix(entity, []byte("\r\n")); ok {
		return nil, body
	}
	header, body, _ = bytes.Cut(entity, []byte("\r\n\r\n"))
	return header, body
}

// field returns the value of the first header field of that name.
func field(header []byte, name, otherwise string) string {
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
	case "iso-8859-1", "latin1":
		runes := make([]rune, len(body))
		for i, c := range body {
			runes[i] = rune(c)
		}
		return string(runes), true
	}
	return "", false
}

// show says what a message is, for people.
func (c content) show(octets int) string {
	if c.isText {
		return escapeText(c.text)
	}
	return escapeLine(fmt.Sprintf("[%s, %d octets]", c.kind, octets))
}
