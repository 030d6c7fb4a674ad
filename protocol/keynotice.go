package protocol

// KeyNotice is a change of a user's list of keys, made once and shared by all
// who are told (SIMP.md, section 15).
type KeyNotice struct {
	Address Address
	Head    string // of the list, as it is on the wire
	Index   uint64 // of the change
	// By names the watchers on a routing connection for whom it is; else nil.
	By []Address
}
