package time

import (
	"sync/atomic"
	"syscall"
)

// wallShift is by how many seconds the wall clock is off. This file and a line
// in Now are laid over the standard library for the fault laboratory.
var wallShift atomic.Int64

func init() {
	name, ok := syscall.Getenv("WALL_CLOCK_SHIFT")
	if !ok {
		return
	}
	readShift(name)
	go func() {
		for {
			Sleep(5 * Millisecond)
			readShift(name)
		}
	}()
}

// readShift reads a decimal number. Where there is no file, nothing changes.
func readShift(name string) {
	fd, err := open(name)
	if err != nil {
		return
	}
	defer closefd(fd)
	var buf [24]byte
	n, err := read(fd, buf[:])
	if err != nil || n <= 0 {
		return
	}
	digits, sign := buf[:n], int64(1)
	if digits[0] == '-' {
		digits, sign = digits[1:], -1
	}
	var shift int64
	for _, d := range digits {
		shift = shift*10 + int64(d-'0')
	}
	wallShift.Store(sign * shift)
}
