package api

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"simpd/protocol"
)

// fields gathers what is wrong with the fields of a request.
type fields struct {
	domains []string // the site's
	bad     []*errdetails.BadRequest_FieldViolation
}

// maxViolations are told at once.
const maxViolations = 20

func (f *fields) addViolation(field, format string, args ...any) {
	if len(f.bad) < maxViolations {
		f.bad = append(f.bad, &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
	}
}

// err is nil, or INVALID_ARGUMENT with each field that is wrong.
func (f *fields) err() error {
	if len(f.bad) == 0 {
		return nil
	}
	text := f.bad[0].Field + ": " + f.bad[0].Description
	if more := len(f.bad) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return statusWithDetails(codes.InvalidArgument, text, &errdetails.BadRequest{FieldViolations: f.bad})
}

// localUser reads the address of a user of this site, in canonical form.
func (f *fields) localUser(field, value string) protocol.Address {
	a := f.anyAddress(field, value)
	if a.IsZero() {
		return a
	}
	if !slices.Contains(f.domains, a.Domain()) {
		f.addViolation(field, "%s is not of this site, which serves %s", a, strings.Join(f.domains, ", "))
		return protocol.Address{}
	}
	folded, ok := a.PRECISFold()
	if !ok {
		f.addViolation(field, "%s can't be a user's name", protocol.Quote(a.Local()))
		return protocol.Address{}
	}
	return folded
}

// anyAddress reads any address; one of this site's in canonical form.
func (f *fields) anyAddress(field, value string) protocol.Address {
	if value == "" {
		f.addViolation(field, "an address is required")
		return protocol.Address{}
	}
	a, err := protocol.ParseAddress(value)
	if err != nil {
		f.addViolation(field, "%s", textWithoutStatus(err))
		return protocol.Address{}
	}
	if slices.Contains(f.domains, a.Domain()) {
		a, _ = a.PRECISFold()
	}
	return a
}

// localUsers reads a list of users of this site, none twice.
func (f *fields) localUsers(field string, values []string, most int) []protocol.Address {
	if len(values) > most {
		f.addViolation(field, "%d are too many: at most %d", len(values), most)
		return nil
	}
	seen := make(map[protocol.Address]bool, len(values))
	list := make([]protocol.Address, 0, len(values))
	for i, value := range values {
		a := f.localUser(fmt.Sprintf("%s[%d]", field, i), value)
		if !a.IsZero() && !seen[a] {
			seen[a] = true
			list = append(list, a)
		}
	}
	return list
}

// localDomain reads one of this site's domains, or "".
func (f *fields) localDomain(field, value string) string {
	if value == "" {
		return ""
	}
	d, err := protocol.ParseDomain(value)
	switch {
	case err != nil:
		f.addViolation(field, "%s", textWithoutStatus(err))
	case !slices.Contains(f.domains, d):
		f.addViolation(field, "%s is not served here; this site serves %s", protocol.Quote(d), strings.Join(f.domains, ", "))
	}
	return d
}

// requiredName reads a node's id or another name that has to be there.
func (f *fields) requiredName(field, value string) string {
	if value == "" {
		f.addViolation(field, "has to be given")
	}
	return value
}

// pageSize reads the size of a page.
func (f *fields) pageSize(size int32) int {
	switch {
	case size == 0:
		return 100
	case size < 0 || size > 1000:
		f.addViolation("page_size", "%d is not from 1 to 1000", size)
	}
	return int(size)
}

// durationWithin reads a duration from least to most, or none.
func (f *fields) durationWithin(field string, d *durationpb.Duration, none, least, most time.Duration) time.Duration {
	if d == nil {
		return none
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < least || d.AsDuration() > most {
		f.addViolation(field, "is not from %s to %s", least, most)
	}
	return d.AsDuration()
}

// textWithoutStatus returns the text of an error without a status before it.
func textWithoutStatus(err error) string {
	if e, ok := err.(*protocol.Error); ok {
		return e.Text
	}
	return status.Convert(err).Message()
}
