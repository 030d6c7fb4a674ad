//go:build linux

package host

import (
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine describes where a measurement was made.
type Machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"` // usable ones
	MemoryMiB  int64  `json:"memory_mib"`
	Kernel     string `json:"kernel"`
	Go         string `json:"go"`
}

// ThisMachine describes this machine; what can't be found is left empty.
func ThisMachine() Machine {
	m := Machine{Go: runtime.Version(), Processor: processor()}
	if all, err := Usable(); err == nil {
		m.Processors = len(all)
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		m.MemoryMiB = kibibytes(b, "MemTotal:") >> 20
	}
	return m
}

func processor() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
