package protocol

// ListenRequest is a LISTEN (SIMP.md, section 5).
type ListenRequest struct {
	State     State // one that listens
	Note      string
	Exclusive bool // displaces the user's other sessions
}
