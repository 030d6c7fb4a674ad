package protocol

// KeysRequest is a KEYS: by asks for the keys of Of (SIMP.md, section 15).
type KeysRequest struct {
	By, Of Address
	Fresh  bool // the answer holds every change that was acknowledged before
}

// KeyNotice is a change of a user's list of keys, made once and shared by all
// who are told (SIMP.md, section 15).
type KeyNotice struct {
	Address Address
	Head    string // of the list, as it is on the wire
	Index   uint64 // of the change
	// By names the watchers on a routing connection for whom it is; else nil.
	By []Address
}
