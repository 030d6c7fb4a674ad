package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"

	"simpd/protocol/webchat"
)

//go:embed files
var files embed.FS

// iconFile is a file of the web chat that the console uses too.
const iconFile = "icon.svg"

// assets returns the files of the console by their paths.
func assets() map[string]webchat.File {
	all := map[string]webchat.File{}
	entries, err := fs.ReadDir(files, "files")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, e := range entries {
		all["/"+e.Name()] = webchat.NewFile(e.Name(), mustRead(files.ReadFile, "files/"+e.Name()))
	}
	all["/"+iconFile] = webchat.NewFile(iconFile, mustRead(webchat.Content, iconFile))
	all["/"] = all["/index.html"]
	delete(all, "/index.html")
	all[signInStyle] = all["/app.css"]
	return all
}

// versionOf returns a hash of all files: a page that has others reloads itself.
func versionOf(all map[string]webchat.File) string {
	h := sha256.New()
	for _, path := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(h, "%s %s\n", path, all[path].Tag())
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func mustRead(read func(string) ([]byte, error), name string) []byte {
	content, err := read(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return content
}

// setSecurityHeaders allows the page what it needs, and nothing else.
func setSecurityHeaders(head http.Header, r *http.Request) {
	head.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("X-Frame-Options", "DENY")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	head.Set("Cache-Control", "no-store")
	if r.TLS != nil { // it counts on secure origins only, and browsers warn elsewhere
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
}
