// Package configfile reads and writes the configuration file of simp: a few
// lines like key: value, in YAML.
package configfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"simpd/protocol/secretfile"
)

// Setting is one line of the file.
type Setting struct {
	Key, Value string
	Line       int
}

// Folder returns where the programs' files of a user are (XDG Base Directory
// Specification); "" if nothing tells.
func Folder(env func(string) string) string {
	if base := env("XDG_CONFIG_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "simp")
	}
	if home := env("HOME"); home != "" {
		return filepath.Join(home, ".config", "simp")
	}
	return ""
}

// Read reads a file with some of these keys. An error names the file, the line
// and what is wrong.
func Read(path string, keys []string) ([]Setting, error) {
	content, err := secretfile.ReadPublic(path)
	if err != nil {
		return nil, err
	}
	tree, err := parser.ParseBytes(content, 0, parser.AllowDuplicateMapKey())
	if bad, ok := errors.AsType[yaml.Error](err); ok && bad.GetToken() != nil {
		return nil, errorAt(path, bad.GetToken().Position.Line, "invalid YAML: %s", bad.GetMessage())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: invalid YAML: %w", path, err)
	}
	var settings []Setting
	for _, doc := range tree.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		mapping, ok := doc.Body.(*ast.MappingNode)
		if !ok {
			return nil, errorAt(path, doc.Body.GetToken().Position.Line, "must consist of lines like user: alice@example.com")
		}
		for _, pair := range mapping.Values {
			s, err := readPair(path, pair, keys, settings)
			if err != nil {
				return nil, err
			}
			settings = append(settings, s)
		}
	}
	return settings, nil
}

func readPair(path string, pair *ast.MappingValueNode, keys []string, before []Setting) (Setting, error) {
	t := pair.Key.GetToken()
	s := Setting{Key: t.Value, Line: t.Position.Line}
	if !slices.Contains(keys, s.Key) {
		return s, errorAt(path, s.Line, "unknown key %q; the keys are %s", s.Key, strings.Join(keys, ", "))
	}
	if i := slices.IndexFunc(before, func(b Setting) bool { return b.Key == s.Key }); i >= 0 {
		return s, errorAt(path, s.Line, "%s is set twice: first in line %d", s.Key, before[i].Line)
	}
	switch value := pair.Value.(type) {
	case *ast.StringNode:
		s.Value = value.Value
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		s.Value = value.GetToken().Value
	case *ast.NullNode:
	default:
		return s, errorAt(path, s.Line, "%s must be one value on the same line", s.Key)
	}
	return s, nil
}

func errorAt(path string, line int, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", path, line, fmt.Sprintf(format, args...))
}

// Write makes a file with some settings. It replaces none.
func Write(path string, settings []Setting) error {
	var b strings.Builder
	b.WriteString("# Settings of simp; flags and SIMP_... variables come first.\n")
	for _, s := range settings {
		value, err := yaml.Marshal(s.Value)
		if err != nil {
			return err
		}
		if s.Value == "true" { // a word of YAML's own: no text
			value = []byte(s.Value)
		}
		fmt.Fprintf(&b, "%s: %s\n", s.Key, strings.TrimSpace(string(value)))
	}
	return writeNew(path, b.String())
}

// WriteSecret makes a file with a secret, which only its owner may read. It
// replaces none.
func WriteSecret(path, secret string) error { return writeNew(path, secret+"\n") }

func writeNew(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// IsThere reports whether there is a file.
func IsThere(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
