package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// This file is laid over the server's sources. It makes a program that panics,
// or does not end any more, when it is told to.
func init() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		if <-told == syscall.SIGUSR2 {
			panic("told to panic")
		}
		signal.Ignore(syscall.SIGTERM)
		fmt.Fprintln(os.Stderr, "told to ignore SIGTERM")
	}()
}
