package main

import "testing"

func TestDevChecksThePassword(t *testing.T) {
	for password, ok := range map[string]bool{"": true, "x": true, "\u00ad": false, "a\tb": false, "a\xff": false} {
		o := devOptions{nodes: 1, port: devPort, logLevel: "error", password: password}
		if err := o.check(); (err == nil) != ok {
			t.Errorf("--password %q: %v", password, err)
		}
	}
}
