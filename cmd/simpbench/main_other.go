//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "simpbench: it reads the kernel's accounts of processes, and works on Linux only")
	os.Exit(1)
}
