package protocol

// WatchRequest is a WATCH, an UNWATCH or a QUERY: whom it names, and for whom
// it asks (SIMP.md, sections 7 and 9).
type WatchRequest struct {
	Addresses []Address // canonical, none twice, in the order given
	By        []Address // on a routing connection: the watchers; else nil
	Contacts  bool      // WATCH contacts=yes: those of the user's contact list as well
	Fresh     bool      // QUERY fresh=yes
}
