// Package relay is the yardstick of simpbench: a minimal server that does what
// any messaging server physically has to do, and nothing else. A goroutine for
// each connection reads length-prefixed frames, finds the receiver in a map and
// writes the frame to its socket, the acknowledgement back likewise. It knows no
// passwords, no log, no disk and no other node. What simpd costs is told as
// a multiple of what this costs on the same machine in the same minute.
package relay
