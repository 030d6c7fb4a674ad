package api

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	"simpd/store"
)

// errorDomain is the domain of the ErrorInfo details.
const errorDomain = "simp.v1"

// reason names the cause of an error for programs, in an ErrorInfo. None is
// ever renamed. docs/programs.md explains each, and what to do.
type reason string

// The reasons.
const (
	reasonCutOff             reason = "CUT_OFF"
	reasonNotReady           reason = "NOT_READY"
	reasonNotConfirmed       reason = "NOT_CONFIRMED"
	reasonBehind             reason = "BEHIND"
	reasonClosing            reason = "CLOSING"
	reasonUnavailable        reason = "UNAVAILABLE"
	reasonOutcomeUnknown     reason = "OUTCOME_UNKNOWN"
	reasonPartlyDone         reason = "PARTLY_DONE"
	reasonTimedOut           reason = "TIMED_OUT"
	reasonPageTokenExpired   reason = "PAGE_TOKEN_EXPIRED"
	reasonOverLimit          reason = "OVER_LIMIT"
	reasonTooLarge           reason = "TOO_LARGE"
	reasonNoMethod           reason = "NO_METHOD"
	reasonNoRole             reason = "NO_ROLE"
	reasonSenderForbidden    reason = "SENDER_FORBIDDEN"
	reasonDisabled           reason = "DISABLED"
	reasonCredentialsMissing reason = "CREDENTIALS_MISSING"
	reasonCredentialsInvalid reason = "CREDENTIALS_INVALID"
	reasonCredentialsExpired reason = "CREDENTIALS_EXPIRED"
	reasonLocalOnly          reason = "LOCAL_ONLY"
	reasonNoAccount          reason = "NO_ACCOUNT"
	reasonNoNode             reason = "NO_NODE"
	reasonNoSession          reason = "NO_SESSION"
	reasonNoService          reason = "NO_SERVICE"
	reasonNoAppPassword      reason = "NO_APP_PASSWORD"
	reasonNoKey              reason = "NO_KEY"
	reasonNoInvitation       reason = "NO_INVITATION"
	reasonNoBlock            reason = "NO_BLOCK"
	reasonNoReport           reason = "NO_REPORT"
	reasonExists             reason = "EXISTS"
	reasonRefused            reason = "REFUSED"
	reasonEmptyBackup        reason = "EMPTY_BACKUP"
	reasonFault              reason = "FAULT"
)

// reasonCodes are the codes that each reason comes with. PARTLY_DONE comes with
// any other code too, where the caller has to know that.
var reasonCodes = map[reason][]codes.Code{
	reasonCutOff:             {codes.Unavailable},
	reasonNotReady:           {codes.Unavailable},
	reasonNotConfirmed:       {codes.Unavailable},
	reasonBehind:             {codes.Unavailable},
	reasonClosing:            {codes.Unavailable},
	reasonUnavailable:        {codes.Unavailable},
	reasonOutcomeUnknown:     {codes.Unknown, codes.DeadlineExceeded},
	reasonPartlyDone:         {codes.Aborted},
	reasonTimedOut:           {codes.DeadlineExceeded},
	reasonPageTokenExpired:   {codes.Aborted},
	reasonOverLimit:          {codes.ResourceExhausted},
	reasonTooLarge:           {codes.ResourceExhausted},
	reasonNoMethod:           {codes.PermissionDenied},
	reasonNoRole:             {codes.PermissionDenied, codes.Unauthenticated},
	reasonSenderForbidden:    {codes.PermissionDenied},
	reasonDisabled:           {codes.PermissionDenied},
	reasonCredentialsMissing: {codes.Unauthenticated},
	reasonCredentialsInvalid: {codes.Unauthenticated},
	reasonCredentialsExpired: {codes.Unauthenticated},
	reasonLocalOnly:          {codes.Unauthenticated},
	reasonNoAccount:          {codes.NotFound},
	reasonNoNode:             {codes.NotFound},
	reasonNoSession:          {codes.NotFound},
	reasonNoService:          {codes.NotFound},
	reasonNoAppPassword:      {codes.NotFound},
	reasonNoKey:              {codes.NotFound},
	reasonNoInvitation:       {codes.NotFound},
	reasonNoBlock:            {codes.NotFound},
	reasonNoReport:           {codes.NotFound},
	reasonExists:             {codes.AlreadyExists},
	reasonRefused:            {codes.FailedPrecondition},
	reasonEmptyBackup:        {codes.FailedPrecondition},
	reasonFault:              {codes.Internal},
}

// codeReasons are for statuses that gRPC or one of its services has made.
var codeReasons = map[codes.Code]reason{
	codes.NotFound:           reasonNoService, // of the health service
	codes.ResourceExhausted:  reasonTooLarge,
	codes.DeadlineExceeded:   reasonTimedOut,
	codes.FailedPrecondition: reasonRefused,
	codes.Unavailable:        reasonUnavailable,
	codes.Unknown:            reasonOutcomeUnknown,
}

// errorInfo returns the detail that names the reason.
func (r reason) errorInfo() *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: string(r), Domain: errorDomain}
}

// reasonOf returns the table's refusal as programs are told it. Those that no
// call of theirs should meet have no names of their own.
func reasonOf(r store.Refusal) reason {
	switch r {
	case store.NoAccount:
		return reasonNoAccount
	case store.Exists:
		return reasonExists
	case store.NoAppPassword:
		return reasonNoAppPassword
	case store.NoKey:
		return reasonNoKey
	case store.NoInvitation:
		return reasonNoInvitation
	case store.NoBlock:
		return reasonNoBlock
	case store.NoReport:
		return reasonNoReport
	}
	return reasonRefused
}
