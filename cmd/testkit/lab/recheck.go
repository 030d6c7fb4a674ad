package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"simpd/cmd/internal/cli"
)

// recheck makes all checks again on the history that a failure has left, for
// when the checks are the ones that were wrong.
func recheck(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := &history{}
	if err := json.NewDecoder(f).Decode(h); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	r := newReport(0, filepath.Dir(file))
	r.count(h)
	newChecker(h, r, siteDomain).all()
	r.print(cli.NewEscaper(os.Stdout))
	if len(r.wrong) > 0 {
		return fmt.Errorf("promises were broken")
	}
	return nil
}
