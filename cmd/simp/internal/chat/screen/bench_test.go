package screen

import (
	"fmt"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// BenchmarkKeyToFrame measures how long it takes from a key to the frame that
// shows it, in a conversation of 10,000 messages.
func BenchmarkKeyToFrame(b *testing.B) {
	for _, place := range []string{"newest", "oldest"} {
		b.Run(place, func(b *testing.B) {
			s := newStage(b, 120, 40)
			s.say("/to bob")
			for i := range 10_000 {
				_ = s.arrives("bob@example.com", fmt.Sprintf("message %d: %s", i, strings.Repeat("some words ", i%20)))
			}
			if place == "oldest" {
				s.scroll(-1 << 30)
			}
			s.View()
			for b.Loop() {
				s.Update(tea.KeyPressMsg{Code: 'x', Text: "x"})
				s.View()
				s.press("backspace")
				s.View()
			}
		})
	}
}
