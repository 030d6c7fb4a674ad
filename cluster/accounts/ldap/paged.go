package ldap

import (
	"context"
	"fmt"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// pageSize limits the entries of one page of results. Active Directory allows 1000.
const pageSize = 500

// search calls add for each entry below base that the filter admits, page by page.
// More than most are an error.
func (r *groupReader) search(ctx context.Context, base, filter string, attributes []string, most int, add func(*ldap.Entry) error) error {
	paging := ldap.NewControlPaging(pageSize)
	for n := 0; ; {
		result, err := r.searchPage(ctx, base, ldap.ScopeWholeSubtree, filter, attributes, paging)
		if err != nil {
			return err
		}
		if n += len(result.Entries); n > most {
			return contentErrorf("there are more than %d entries below %s with %s", most, base, filter)
		}
		for _, e := range result.Entries {
			if err := add(e); err != nil {
				return err
			}
		}
		page, ok := ldap.FindControl(result.Controls, ldap.ControlTypePaging).(*ldap.ControlPaging)
		if !ok || len(page.Cookie) == 0 { // it was the last, or the server knows no pages
			return nil
		}
		paging.SetCookie(page.Cookie)
	}
}

// readEntry reads an attribute of one entry.
func (r *groupReader) readEntry(ctx context.Context, dn, attribute string) (*ldap.Entry, error) {
	result, err := r.searchPage(ctx, dn, ldap.ScopeBaseObject, "(objectClass=*)", []string{attribute}, nil)
	if err != nil {
		return nil, err
	}
	if len(result.Entries) != 1 {
		return nil, contentErrorf("%d entries have this name", len(result.Entries))
	}
	return result.Entries[0], nil
}

func (r *groupReader) searchPage(ctx context.Context, base string, scope int, filter string, attributes []string, paging *ldap.ControlPaging) (*ldap.SearchResult, error) {
	deadline, _ := ctx.Deadline()
	seconds := max(1, int(time.Until(deadline)/time.Second))
	q := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 0, seconds, false, filter, attributes, nil)
	if paging != nil {
		q.Controls = append(q.Controls, paging)
	}
	result, err := r.conn.Search(q)
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded):
		err = fmt.Errorf("searching below %s: the directory returns no more than a limited number of entries to bind_dn; raise its size limit there: %w", base, err)
	case err != nil && !isConnectionFailure(err):
		err = fmt.Errorf("searching below %s: %w", base, err)
	}
	return result, err
}
