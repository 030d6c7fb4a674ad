package protocol

import (
	"strconv"
	"time"
)

// VersionName returns the name of the version SIMP/1.minor.
func VersionName(minor int) string { return "SIMP/1." + strconv.Itoa(minor) }

// The limits of the wire (SIMP.md, sections 2 to 8).
const (
	Version = "SIMP/1.1"
	Minor   = 1 // of Version

	MaxLine             = 4096 // octets of a line with its CRLF
	MaxTag              = 32
	MaxVerb             = 16
	MaxKey              = 16
	MaxID               = 64
	MaxAddress          = 254      // octets of an address; its local part has at most 64
	MaxNote             = 256      // octets; agent and contact name likewise
	MaxText             = 1024     // octets of a text as this package writes it
	MaxEntity           = 64 << 10 // octets of a message that a server takes, as HELLO's size says
	MaxRecipients       = 64
	MaxWatched          = 1000    // addresses a connection watches
	MaxPairs            = 10_000  // of watcher and watched, in a request and on a routing connection
	MaxWatchersOctets   = 2 << 20 // of an answer to WATCHERS
	MaxRules            = 1000
	MaxContacts         = 1000
	MaxAppPasswords     = 16       // of a user
	MaxInvitations      = 10_000   // of a site
	MaxContactGroups    = 5000     // of a site
	MaxGroupMembers     = 1000     // of a contact group
	MaxGroupKey         = 512      // octets of a group's key
	MaxGroupOctets      = 32 << 20 // of all contact groups together
	MaxInvitationUses   = 10_000   // accounts that one may create
	MaxSessions         = 16       // shared sessions of a user; one more while one is being moved
	MaxAuthData         = 16 << 10
	MaxRequests         = 1024 // requests of a connection unanswered by the server
	MaxRequestOctets    = 16 << 20
	MaxUnanswered       = 1024 // messages unwritten or unanswered in a session
	MaxUnansweredOctets = 4 << 20

	DefaultTimeout = 10 * time.Second // of a SEND
	MaxTimeout     = 60 * time.Second
	RepeatWindow   = 5 * time.Minute  // how long an accepted id is remembered
	RequestTimeout = 10 * time.Second // requests other than SEND are answered within it
)

// The parts of an address. RFC 5321 has 255 octets for a domain; a name that
// DNS can hold has at most 253 when written.
const (
	maxLocal  = 64
	maxLabel  = 63
	maxDomain = 253
)
