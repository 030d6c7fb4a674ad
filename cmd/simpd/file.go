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
	content, err := secretfile.ReadPublic(name)
	if err != nil {
		unreadable := newFileProblem(source{}, "the configuration file can't be read", err)
		return nil, &unreadable
	}
	r := fileReader{name: name, lines: linesOf(string(content)), table: table, settings: s}
	file, err := parser.ParseBytes(content, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p := r.syntaxProblem(err)
		return nil, &p
	}
	r.readDocuments(file)
	return r.wrong, nil
}

// linesOf parts a text into lines, as YAML counts them.
func linesOf(text string) []string {
	return strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
}

// fileReader walks the tree of one file.
type fileReader struct {
	name  string
	lines []string
	table []option
	wrong problems
	settings
}

func (r *fileReader) syntaxProblem(err error) problem {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
		return problem{at: r.sourceOf(e.GetToken(), ""), text: "invalid YAML: " + e.GetMessage()}
	}
	return problem{at: source{file: r.name}, text: fmt.Sprintf("invalid YAML: %v", err)}
}

// sourceOf returns the place of a token.
func (r *fileReader) sourceOf(t *token.Token, name string) source {
	s := source{name: name, file: r.name, line: t.Position.Line, col: t.Position.Column}
	if s.line >= 1 && s.line <= len(r.lines) {
		s.text = r.lines[s.line-1]
	}
	return s
}

func (r *fileReader) addProblem(t *token.Token, format string, args ...any) {
	r.wrong = append(r.wrong, problem{at: r.sourceOf(t, ""), text: fmt.Sprintf(format, args...)})
}

func (r *fileReader) readDocuments(file *ast.File) {
	read := false
	for _, d := range file.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue
		}
		if read {
			r.addProblem(d.Body.GetToken(), "a second document: the file must have exactly one")
			return
		}
		read = true
		r.readMapping(d.Body)
	}
}

func (r *fileReader) readMapping(n ast.Node) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		r.addProblem(n.GetToken(), "must consist of lines like key: value")
		return
	}
	first := map[string]int{}
	for _, pair := range m.Values {
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
	if line, twice := first[key]; twice {
		r.addProblem(t, "%s is set twice: first in line %d", key, line)
		return
	}
	first[key] = t.Position.Line
	if values, ok := r.readValues(o, pair.Value); ok {
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

// readValues returns what stands behind a key, if it is of the option's form. A
// key with nothing behind it is as if it were not there.
func (r *fileReader) readValues(o *option, n ast.Node) ([]string, bool) {
	if n.Type() == ast.NullType {
		return nil, false
	}
	if seq, ok := n.(*ast.SequenceNode); ok && o.form == list {
		return r.readItems(o, seq)
	}
	v, ok := r.readScalar(o, n)
	return []string{v}, ok
}

func (r *fileReader) readItems(o *option, seq *ast.SequenceNode) (values []string, ok bool) {
	for _, item := range seq.Values {
		v, ok := r.readScalar(o, item)
		if !ok {
			return nil, false
		}
		values = append(values, v)
	}
	return values, len(values) > 0
}

// readScalar returns one word as it was written, if it is of the right kind.
func (r *fileReader) readScalar(o *option, n ast.Node) (string, bool) {
	fits := false
	switch n.Type() {
	case ast.StringType, ast.LiteralType:
		fits = o.form == text || o.form == list
	case ast.IntegerType, ast.FloatType:
		fits = o.form != toggle
	case ast.BoolType:
		fits = o.form != number
	}
	if !fits {
		r.bad[o.name] = true
		r.addProblem(n.GetToken(), "%s must be %s, not %s", o.key(), o.form, describeNode(n))
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
