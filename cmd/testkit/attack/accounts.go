package main

import "fmt"

// attackUsers are the accounts of those who attack.
func attackUsers() (all []string) {
	for i := range 40 {
		all = append(all, fmt.Sprintf("mallory%d", i))
	}
	return all
}
