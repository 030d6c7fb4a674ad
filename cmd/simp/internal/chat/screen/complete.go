package screen

import (
	"slices"
	"strings"

	"simpd/cmd/simp/internal/chat"
)

// completions holds the texts that Tab inserts, one after the other.
type completions struct {
	words []string
	next  int
	from  int // where the word begins
}

// complete completes the word before the cursor: a command at the beginning,
// or an address.
func (u *ui) complete() {
	c := &u.completions
	if c.words == nil {
		c.from = u.input.spaceLeftNow()
		word := strings.Join(u.input.clusters[c.from:u.input.cursor], "")
		if c.words = u.candidates(word, c.from); len(c.words) == 0 {
			u.hint = "nothing begins with " + u.plain(display(word))
			return
		}
	}
	u.input.remove(c.from, u.input.cursor)
	u.input.insert(c.words[c.next%len(c.words)] + " ")
	c.next++
}

// spaceLeftNow returns where the word begins that ends at the cursor.
func (e *editor) spaceLeftNow() int {
	i := e.cursor
	for i > 0 && strings.TrimSpace(e.clusters[i-1]) != "" {
		i--
	}
	return i
}

// candidates returns what a word may be the beginning of. In a list of
// addresses only the last one is completed.
func (u *ui) candidates(word string, from int) (words []string) {
	if word == "" {
		return nil
	}
	if from == 0 && strings.HasPrefix(word, "/") {
		for _, c := range chat.Commands() {
			if strings.HasPrefix("/"+c.Name, word) {
				words = append(words, "/"+c.Name)
			}
		}
		return words
	}
	list := word[:strings.LastIndexByte(word, ',')+1]
	word = strings.ToLower(word[len(list):])
	for _, c := range u.model.Roster() {
		for _, a := range c.To {
			if address := list + a.String(); word != "" && strings.HasPrefix(strings.ToLower(a.String()), word) && !slices.Contains(words, address) {
				words = append(words, address)
			}
		}
	}
	return words
}
