package store

// BatchResult holds the results of one batch, for who proposed it.
type BatchResult struct {
	Origin       string
	Boot, Number uint64
	Results      []Result // one for each change, in order
}

// Result is what became of one change.
type Result struct {
	Index     uint64    // the change's own, if it was applied; otherwise the table's when it was tried
	Applied   bool      // it took an index (Reap: at least one; Index is its last)
	Refusal   Refusal   // None: it was applied, or it was so already
	Detail    string    // a sentence that says why it was refused
	Displaced []Binding // exclusive Bind: the bindings that it ended
	Epoch     uint64    // NodeUp: the node's present epoch
	Bound     uint64    // Bind: the index of the session's first Bind
	Left      bool      // Reap: something is left to reap
}
