package webchat

import "net/http"

// File is a file as browsers get it, for other pages that this program serves.
type File struct{ asset *asset }

// NewFile returns a file with that content. Its name decides its media type. It
// compresses the content once.
func NewFile(name string, content []byte) File { return File{newAsset(name, content)} }

// Content returns the content of one of the web chat's files, which other pages
// may use.
func Content(name string) ([]byte, error) { return files.ReadFile("files/" + name) }

// ServeHTTP sends the file, unless the browser has it.
func (f File) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.asset.serve(w, r) }

// Tag returns what tells this content from others.
func (f File) Tag() string { return f.asset.tag }

// Weight returns the octets of the compressed file.
func (f File) Weight() int { return len(f.asset.gzipped) }
