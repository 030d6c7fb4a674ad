//go:build linux

package main

import "slices"

// median returns the middle one of the values, or the mean of the two.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	if n == 0 {
		return 0
	}
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// ratios divides round by round: each subject was measured once in each, soon
// after the other. Where they differ in number, the medians are divided.
func ratios(of, by []float64) []float64 {
	if len(of) != len(by) {
		of, by = []float64{median(of)}, []float64{median(by)}
	}
	var all []float64
	for i := range of {
		if by[i] != 0 {
			all = append(all, of[i]/by[i])
		}
	}
	return all
}

// overlap reports whether the ranges of two sets of values have something in common.
func overlap(a, b []float64) bool {
	return len(a) > 0 && len(b) > 0 && slices.Min(a) <= slices.Max(b) && slices.Min(b) <= slices.Max(a)
}
