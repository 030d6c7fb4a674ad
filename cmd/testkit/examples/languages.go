package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"simpd/cmd/testkit/site"
)

// language is one that there are examples in.
type language struct {
	name   string
	folder string     // in docs/examples
	steps  [][]string // that make it ready to run, in its folder
	// start returns how an example in that folder is started.
	start func(folder, example string) []string
}

// protos are the files that the examples need.
var protos = []string{"simp/v1/message.proto", "simp/v1/presence.proto"}

// findLanguages returns the languages, or says which programs they lack here.
func findLanguages() ([]*language, error) {
	python, missing := findPython()
	missing = append(missing, append(findPlugins(), lackingPrograms("node", "npm")...)...)
	if len(missing) > 0 {
		return nil, fmt.Errorf("these are missing here: %s; on Debian install python3-grpcio, python3-grpc-tools, mypy, mypy-protobuf, nodejs and npm",
			strings.Join(missing, ", "))
	}
	node, err := exec.LookPath("node")
	return []*language{pythonExamples(python), typeScriptExamples(node)}, err
}

// findPlugins returns which of protoc's plugins for types are missing.
func findPlugins() (missing []string) {
	return lackingPrograms("protoc-gen-mypy", "protoc-gen-mypy_grpc")
}

func lackingPrograms(names ...string) (missing []string) {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

// modules are those of Python that the examples need.
var modules = []string{"grpc", "grpc_tools", "mypy"}

// findPython returns the Python that has the modules, which is not always the
// first, or what the first lacks.
func findPython() (path string, missing []string) {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		lacks := lackingModules(path)
		if len(lacks) == 0 {
			return path, nil
		}
		if missing == nil {
			missing = lacks
		}
	}
	if missing == nil {
		missing = []string{"python3"}
	}
	return "", missing
}

func lackingModules(python string) (missing []string) {
	for _, m := range modules {
		if exec.Command(python, "-c", "import "+m).Run() != nil {
			missing = append(missing, "the Python module "+m)
		}
	}
	return missing
}

func pythonExamples(python string) *language {
	generate := []string{python, "-m", "grpc_tools.protoc", "-I../../../proto", "--python_out=.", "--grpc_python_out=.", "--mypy_out=.", "--mypy_grpc_out=."}
	for _, p := range protos {
		generate = append(generate, "../../../proto/"+p)
	}
	return &language{
		name: "Python", folder: "python",
		steps: [][]string{generate, {python, "-m", "mypy", "--strict", "--cache-dir=/dev/null", "."}},
		start: func(folder, example string) []string { return []string{python, filepath.Join(folder, example+".py")} },
	}
}

func typeScriptExamples(node string) *language {
	return &language{
		name: "TypeScript", folder: "typescript",
		steps: [][]string{{"npm", "ci", "--no-audit", "--no-fund"}, {"npm", "run", "--silent", "build"}},
		start: func(folder, example string) []string {
			return []string{node, filepath.Join(folder, "dist", example+".js")}
		},
	}
}

// path returns the directory of the examples in a copy of the repository's layout.
func (l *language) path(dir string) string { return filepath.Join(dir, "docs", "examples", l.folder) }

func (l *language) command(dir, example string) []string { return l.start(l.path(dir), example) }

// build makes the examples ready to run in a copy: the repository holds no
// generated files.
func (l *language) build(root, dir string) error {
	if err := copyTracked(filepath.Join(root, "proto", "simp", "v1"), filepath.Join(dir, "proto", "simp", "v1")); err != nil {
		return err
	}
	if err := copyTracked(filepath.Join(root, "docs", "examples", l.folder), l.path(dir)); err != nil {
		return err
	}
	for _, step := range l.steps {
		cmd := exec.Command(step[0], step[1:]...)
		cmd.Dir = l.path(dir)
		if _, err := site.Output(cmd, site.LongestBuild); err != nil {
			return err
		}
	}
	return nil
}

// untracked are the folders that a build leaves behind.
var untracked = []string{"node_modules", "dist", "generated", "simp", "__pycache__", ".mypy_cache"}

// copyTracked copies a folder, less what a build has left in it.
func copyTracked(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if !d.IsDir() {
			return copyFile(path, target)
		}
		for _, name := range untracked {
			if path != from && d.Name() == name {
				return fs.SkipDir
			}
		}
		return os.MkdirAll(target, 0o700)
	})
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, content, 0o600)
}
