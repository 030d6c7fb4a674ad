package protocol

import "time"

// Report tells operators about somebody (SIMP.md, section 16).
type Report struct {
	By     Address // who reports
	About  Address // whom
	Reason ReportReason
	ID     string // of the message that is reported; may be empty
	Text   string
	Entity []byte // the message as it was received; nil: none is given
	Via    string // the domain of the routing connection that it came over; else empty
}

// MaxReportText is how many octets the text of a report may have, so that it fits
// into a line together with three addresses.
const MaxReportText = 1024

// ReportReason is why somebody is reported. The numbers are in the log.
type ReportReason uint8

// The reasons.
const (
	ReportSpam ReportReason = iota + 1
	ReportAbuse
	ReportOther
)

// IsValid reports whether r is one of the reasons.
func (r ReportReason) IsValid() bool { return r >= ReportSpam && r <= ReportOther }

// String returns the reason as it is written.
func (r ReportReason) String() string {
	switch r {
	case ReportSpam:
		return "spam"
	case ReportAbuse:
		return "abuse"
	case ReportOther:
		return "other"
	}
	return "unknown"
}

// ParseReportReason reads a reason.
func ParseReportReason(s string) (r ReportReason, ok bool) {
	for r := ReportSpam; r.IsValid(); r++ {
		if r.String() == s {
			return r, true
		}
	}
	return 0, false
}

// Evidence says what the signature of a reported message proves. The numbers are
// in the log.
type Evidence uint8

// What a signature proves.
const (
	EvidenceNone      Evidence = iota // no message was given
	EvidenceUnsigned                  // the message has no signature
	EvidenceVerified                  // a key of the reported user signed it for the reporter
	EvidenceBad                       // the signature proves nothing
	EvidenceUnchecked                 // the keys of the reported user could not be fetched
)

// String returns the evidence as people read it.
func (e Evidence) String() string {
	switch e {
	case EvidenceNone:
		return "no message"
	case EvidenceUnsigned:
		return "unsigned"
	case EvidenceVerified:
		return "signature verified"
	case EvidenceBad:
		return "bad signature"
	}
	return "signature not checked"
}

// ReportTimeout limits how long the site waits for keys of another site before it
// stores a report without having checked the signature.
const ReportTimeout = 3 * time.Second
