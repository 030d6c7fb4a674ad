// Package webchat serves the web chat: pages and modules that are embedded in
// the program, and that speak SIMP over the WebSocket beside them.
//
// The files need no build step. They load nothing from other hosts, and set no
// cookies. simp.js, the protocol without the page, is also for other sites'
// pages.
package webchat

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

//go:embed files
var files embed.FS

// types are the media types of the files, by extension. The system's own table
// does not count: it differs from machine to machine.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml", ".webmanifest": "application/manifest+json", ".ts": "text/plain; charset=utf-8",
}

// asset is a file in the form in which it is sent.
type asset struct {
	name, mediaType, tag string
	plain, gzipped       []byte
}

// Handler serves the web chat. Its files do not change while it runs.
type Handler struct{ assets map[string]*asset }

// NewHandler returns a Handler. It compresses each file once.
func NewHandler() *Handler {
	h := &Handler{assets: map[string]*asset{}}
	entries, err := fs.ReadDir(files, "files")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, e := range entries {
		plain, err := files.ReadFile("files/" + e.Name())
		if err != nil {
			panic(err)
		}
		h.assets["/"+e.Name()] = newAsset(e.Name(), plain)
	}
	h.assets["/"] = h.assets["/index.html"]
	return h
}

func newAsset(name string, plain []byte) *asset {
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // the level is valid
	_, _ = w.Write(plain)                                      // to memory
	_ = w.Close()
	sum := sha256.Sum256(plain)
	return &asset{
		name: name, mediaType: types[path.Ext(name)], plain: plain, gzipped: packed.Bytes(),
		tag: base64.RawURLEncoding.EncodeToString(sum[:12]),
	}
}

// ServeHTTP answers GET and HEAD of a file.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setSecurityHeaders(w.Header(), r)
	a := h.assets[r.URL.Path]
	switch {
	case a == nil:
		http.Error(w, "page not found", http.StatusNotFound)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are allowed", http.StatusMethodNotAllowed)
	default:
		a.serve(w, r)
	}
}

// serve sends the file, unless the browser has it. A browser asks each time,
// so that a page loaded after an upgrade is the new one as a whole.
func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	body, tag := a.plain, `"`+a.tag+`"`
	head.Set("Vary", "Accept-Encoding")
	head.Set("Cache-Control", "no-cache")
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		body, tag = a.gzipped, `"`+a.tag+`-gzip"`
		head.Set("Content-Encoding", "gzip")
	}
	head.Set("ETag", tag)
	if strings.HasPrefix(a.name, "simp.") { // other sites' pages may import it
		head.Set("Access-Control-Allow-Origin", "*")
		head.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	if matchesTag(r.Header.Get("If-None-Match"), tag) {
		head.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Type", a.mediaType)
	head.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the browser may be gone
	}
}

// acceptsGzip reports whether an Accept-Encoding header names gzip.
func acceptsGzip(header string) bool {
	for one := range strings.SplitSeq(header, ",") {
		name, params, err := mime.ParseMediaType(one)
		if err == nil && name == "gzip" {
			q, err := strconv.ParseFloat(params["q"], 64)
			return params["q"] == "" || err == nil && q > 0
		}
	}
	return false
}

// matchesTag reports whether an If-None-Match header names tag.
func matchesTag(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
			return true
		}
	}
	return false
}

// setSecurityHeaders allows the page what it needs, and nothing else.
func setSecurityHeaders(head http.Header, r *http.Request) {
	head.Set("Content-Security-Policy", contentSecurityPolicy(r))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("X-Frame-Options", "DENY")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
}

// contentSecurityPolicy names the WebSocket too, because older browsers do
// not count it as 'self'.
func contentSecurityPolicy(r *http.Request) string {
	sockets := ""
	if isPlainHost(r.Host) {
		sockets = " wss://" + r.Host
		if r.TLS == nil {
			sockets += " ws://" + r.Host
		}
	}
	return fmt.Sprintf("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'%s; manifest-src 'self'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'", sockets)
}

// isPlainHost reports whether a Host header may stand in a policy as it is.
func isPlainHost(host string) bool {
	return host != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == ""
}
