//go:build race

package main

// raceEnabled: the programs are built with the race detector, as the tests are.
const raceEnabled = true
