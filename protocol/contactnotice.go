package protocol

// ContactNotice is a change of the contacts that a user has through groups of a
// directory (SIMP.md, section 8).
type ContactNotice struct {
	// Contact is who has been added, with Group. If Group is "", the contact is
	// none through a group any more, and is not watched as one.
	Contact
}
