package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"simpd/protocol/secretfile"
)

// readFile puts what a configuration file says into s, and returns all that
// is wrong with it, or the one thing for which it can't be read at all.
func readFile(name string, table []option, s settings) (wrong problems, unreadable *problem) {
	file, err := openYAML(name)
	if err != nil {
		return nil, err
	}
	r := fileReader{yamlFile: file, table: table, settings: s}
	if body := r.body(); body != nil {
		r.readMapping(body)
	}
	return r.wrong, nil
}

// yamlFile is a file of YAML, and what was found wrong with it.
type yamlFile struct {
	name  string
	lines []string
	tree  *ast.File
	wrong problems
}

// openYAML reads a file that holds no secrets.
func openYAML(name string) (*yamlFile, *problem) {
	content, err := secretfile.ReadPublic(name)
	if err != nil {
		unreadable := newFileProblem(source{}, "the configuration file can't be read", err)
		return nil, &unreadable
	}
	f := &yamlFile{name: name, lines: linesOf(string(content))}
	if f.tree, err = parser.ParseBytes(content, 0, parser.AllowDuplicateMapKey()); err != nil {
		p := f.syntaxProblem(err)
		return nil, &p
	}
	return f, nil
}

// linesOf parts a text into lines, as YAML counts them.
func linesOf(text string) []string {
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

func (f *yamlFile) syntaxProblem(err error) problem {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
		return problem{at: f.sourceOf(e.GetToken(), ""), text: "invalid YAML: " + e.GetMessage()}
	}
	return problem{at: source{file: f.name}, text: fmt.Sprintf("invalid YAML: %v", err)}
}

// sourceOf returns the place of a token.
func (f *yamlFile) sourceOf(t *token.Token, name string) source {
	s := source{name: name, file: f.name, line: t.Position.Line, col: t.Position.Column}
	if s.line >= 1 && s.line <= len(f.lines) {
		s.text = f.lines[s.line-1]
	}
	return s
}

func (f *yamlFile) addProblem(t *token.Token, format string, args ...any) {
	f.wrong = append(f.wrong, problem{at: f.sourceOf(t, ""), text: fmt.Sprintf(format, args...)})
}

// body returns the one document of the file; nil if it is empty.
func (f *yamlFile) body() (body ast.Node) {
	for _, d := range f.tree.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			f.addProblem(d.Body.GetToken(), "a second document: the file must have exactly one")
			break
		}
		body = d.Body
	}
	return body
}

// pairsOf returns the pairs of a mapping; if n is none, that is a problem.
func (f *yamlFile) pairsOf(n ast.Node) []*ast.MappingValueNode {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		f.addProblem(n.GetToken(), "must consist of lines like key: value")
		return nil
	}
	return m.Values
}

// isRepeated reports whether the key was there before, which is a problem.
func (f *yamlFile) isRepeated(t *token.Token, first map[string]int) bool {
	line, twice := first[t.Value]
	if twice {
		f.addProblem(t, "%s is set twice: first in line %d", t.Value, line)
		return true
	}
	first[t.Value] = t.Position.Line
	return false
}

// fileReader walks the tree of one configuration file.
type fileReader struct {
	*yamlFile
	table []option
	settings
}

func (r *fileReader) readMapping(n ast.Node) {
	first := map[string]int{}
	for _, pair := range r.pairsOf(n) {
		r.readPair(pair, first)
	}
}

// readPair reads one key and its value; first tells the line of the keys before.
func (r *fileReader) readPair(pair *ast.MappingValueNode, first map[string]int) {
	t := pair.Key.GetToken()
	key := t.Value
	o := r.findOption(key)
	if o == nil {
		r.addProblem(t, "unknown key %q%s", key, didYouMean(strings.ReplaceAll(key, "-", "_"), optionKeys(r.table)))
		return
	}
	if r.isRepeated(t, first) {
		return
	}
	values, given, ok := r.readValues(key, o.form, pair.Value)
	switch {
	case !ok:
		r.bad[o.name] = true
	case given:
		r.made[o.name] = setting{values, r.sourceOf(t, key)}
	}
}

func (r *fileReader) findOption(key string) *option {
	for i := range r.table {
		if r.table[i].key() == key {
			return &r.table[i]
		}
	}
	return nil
}

func optionKeys(table []option) (names []string) {
	for _, o := range table {
		names = append(names, o.key())
	}
	return names
}

// readValues returns what stands behind a key, if it is of that form. A key
// with nothing behind it is as if it were not there.
func (f *yamlFile) readValues(key string, want form, n ast.Node) (values []string, given, ok bool) {
	if n.Type() == ast.NullType {
		return nil, false, true
	}
	items := []ast.Node{n}
	if seq, isList := n.(*ast.SequenceNode); isList && want == list {
		items = seq.Values
	}
	for _, item := range items {
		v, ok := f.readScalar(key, want, item)
		if !ok {
			return nil, false, false
		}
		values = append(values, v)
	}
	return values, len(values) > 0, true
}

// readScalar returns one word as it was written, if it is of the right kind.
func (f *yamlFile) readScalar(key string, want form, n ast.Node) (string, bool) {
	fits := false
	switch n.Type() {
	case ast.StringType, ast.LiteralType:
		fits = want == text || want == list
	case ast.IntegerType, ast.FloatType:
		fits = want != toggle
	case ast.BoolType:
		fits = want != number
	}
	if !fits {
		f.addProblem(n.GetToken(), "%s must be %s, not %s", key, want, describeNode(n))
		return "", false
	}
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value, true
	}
	return n.GetToken().Value, true
}

func describeNode(n ast.Node) string {
	switch n.Type() {
	case ast.MappingType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.NullType:
		return "nothing"
	}
	return fmt.Sprintf("%q", n.GetToken().Value)
}
