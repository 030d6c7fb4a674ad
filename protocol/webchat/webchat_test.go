package webchat

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://chat.example.com:7468"+path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	NewHandler().ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestWeight holds the promise that everything weighs at most 40 KiB.
func TestWeight(t *testing.T) {
	total := 0
	for name, a := range NewHandler().assets {
		if name != "/" {
			total += len(a.gzipped)
		}
	}
	if total > 40<<10 {
		t.Errorf("the files have %d octets when compressed; at most %d are allowed", total, 40<<10)
	}
	t.Logf("%d octets", total)
}

func TestFilesAreServed(t *testing.T) {
	want := map[string]string{
		"/": "text/html; charset=utf-8", "/index.html": "text/html; charset=utf-8", "/app.js": "text/javascript; charset=utf-8",
		"/simp.js": "text/javascript; charset=utf-8", "/simp.d.ts": "text/plain; charset=utf-8", "/app.css": "text/css; charset=utf-8",
		"/icon.svg": "image/svg+xml", "/manifest.webmanifest": "application/manifest+json",
	}
	for path, mediaType := range want {
		r := get(t, path)
		if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusOK || got != mediaType || body(t, r) == "" {
			t.Errorf("GET %s: %d %q", path, r.StatusCode, got)
		}
		if r.Header.Get("Set-Cookie") != "" || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: %v", path, r.Header)
		}
	}
	for name, a := range NewHandler().assets {
		if a.mediaType == "" {
			t.Errorf("%s has no media type", name)
		}
	}
	for _, path := range []string{"/none", "/files/app.js", "/../webchat.go", "/app.js/"} {
		if r := get(t, path); r.StatusCode != http.StatusNotFound || r.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("GET %s: %d", path, r.StatusCode)
		}
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	w := httptest.NewRecorder()
	NewHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	NewHandler().ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/", nil))
	if w.Code != http.StatusOK || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
		t.Errorf("HEAD: %d %v", w.Code, w.Header())
	}
}

func TestCompression(t *testing.T) {
	plain := body(t, get(t, "/app.js"))
	for _, accepts := range []string{"gzip", "br, gzip;q=0.5", "deflate, gzip"} {
		r := get(t, "/app.js", "Accept-Encoding", accepts)
		z, err := gzip.NewReader(bytes.NewReader([]byte(body(t, r))))
		if err != nil {
			t.Fatalf("%q: %v", accepts, err)
		}
		if b, err := io.ReadAll(z); err != nil || string(b) != plain {
			t.Errorf("%q: it is another file: %v", accepts, err)
		}
	}
	for _, accepts := range []string{"", "br", "gzip;q=0", "identity"} {
		if r := get(t, "/app.js", "Accept-Encoding", accepts); r.Header.Get("Content-Encoding") != "" || body(t, r) != plain {
			t.Errorf("%q: Content-Encoding %q", accepts, r.Header.Get("Content-Encoding"))
		}
	}
}

func TestETag(t *testing.T) {
	r := get(t, "/app.js")
	tag := r.Header.Get("ETag")
	if tag == "" || r.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("headers: %v", r.Header)
	}
	if tag == get(t, "/app.css").Header.Get("ETag") || tag == get(t, "/app.js", "Accept-Encoding", "gzip").Header.Get("ETag") {
		t.Errorf("two different contents have the tag %s", tag)
	}
	for _, has := range []string{tag, `"x", ` + tag, "W/" + tag, "*"} {
		if r := get(t, "/app.js", "If-None-Match", has); r.StatusCode != http.StatusNotModified || body(t, r) != "" {
			t.Errorf("If-None-Match %s: %d", has, r.StatusCode)
		}
	}
	if r := get(t, "/app.js", "If-None-Match", `"x"`); r.StatusCode != http.StatusOK {
		t.Errorf("another tag: %d", r.StatusCode)
	}
}

func TestPolicy(t *testing.T) {
	policy := get(t, "/").Header.Get("Content-Security-Policy")
	for _, part := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self' wss://chat.example.com:7468 ws://chat.example.com:7468;",
		"form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
	} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy lacks %s: %s", part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("policy: %s", policy)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host, r.TLS = "example.com", new(tls.ConnectionState)
	if got := contentSecurityPolicy(r); strings.Contains(got, " ws:") || !strings.Contains(got, " wss://example.com;") {
		t.Errorf("over TLS: %s", got)
	}
	for _, host := range []string{"a; script-src *", "a b", "", "a'b", "a,b"} {
		r.Host = host
		if got := contentSecurityPolicy(r); !strings.Contains(got, "connect-src 'self'; ") {
			t.Errorf("Host %q: %s", host, got)
		}
	}
}

// TestOtherSitesMayImportSimp: simp.js, and nothing else, is for all.
func TestOtherSitesMayImportSimp(t *testing.T) {
	for path, want := range map[string]string{"/simp.js": "*", "/simp.d.ts": "*", "/app.js": "", "/": ""} {
		if got := get(t, path).Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("GET %s: Access-Control-Allow-Origin %q", path, got)
		}
	}
}

var (
	foreign = regexp.MustCompile(`(?i)(?:src|href|import|from|url\(|fetch\()\s*[=(]?\s*["']?(?:https?:)?//`)
	inline  = regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|document\.cookie`)
)

// TestNoForeignHostAndNothingInline: the files load nothing from elsewhere,
// have nothing that the policy forbids, and no way to make elements of text.
func TestNoForeignHostAndNothingInline(t *testing.T) {
	for name, a := range NewHandler().assets {
		if found := foreign.FindString(string(a.plain)); found != "" {
			t.Errorf("%s loads from elsewhere: %s", name, found)
		}
		if found := inline.FindString(string(a.plain)); found != "" {
			t.Errorf("%s has %s", name, found)
		}
	}
	for _, bad := range []string{`<script src="https://x">`, `import "//x/y.js"`, `background: url(http://x)`} {
		if !foreign.MatchString(bad) {
			t.Errorf("%s is not found", bad)
		}
	}
}

// TestModulesExist: what the files name is there.
func TestModulesExist(t *testing.T) {
	assets := NewHandler().assets
	names := regexp.MustCompile(`(?:from "\.|href="|src="|"src": ")(/[a-z.]+)"`)
	found := 0
	for name, a := range assets {
		for _, m := range names.FindAllStringSubmatch(string(a.plain), -1) {
			found++
			if assets[m[1]] == nil {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
		}
	}
	if found < 15 {
		t.Errorf("only %d names were found", found)
	}
}
