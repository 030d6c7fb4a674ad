package console

import (
	"errors"
	"net/http"
	"time"

	"simpd/cluster/api"
)

// cookieName is the name of the cookie. With this prefix, browsers take it only
// with Secure, for the whole of one host, and without Domain, so that no other
// host can set it (RFC 6265bis, section 4.1.3).
const cookieName = "__Host-simp-console"

var errNoCookie = errors.New("nobody has signed in")

// sessionOf returns the session of a request's cookie. If there are several
// cookies of the name, none is taken.
func (c *Console) sessionOf(r *http.Request) (*ticket, error) {
	cookies := r.CookiesNamed(cookieName)
	if len(cookies) != 1 {
		return nil, errNoCookie
	}
	return c.Keys.open(cookies[0].Value, sessionTicket)
}

// begin makes a session for whoever the ticket of a link is for, and gives the
// browser its cookie. What the browser has sent counts for nothing.
func (c *Console) begin(w http.ResponseWriter, link *ticket) {
	c.setCookie(w, &ticket{kind: sessionTicket, id: newID(), made: time.Now(), end: link.end, name: link.name, roles: link.roles})
}

// renew gives the browser a new cookie if the session's is older than a minute:
// it ends 30 minutes after its last use.
func (c *Console) renew(w http.ResponseWriter, session *ticket) {
	if now := time.Now(); now.Sub(session.made) >= renewAfter {
		renewed := *session
		renewed.made = now
		c.setCookie(w, &renewed)
	}
}

// setCookie gives the browser a session. Browsers count loopback as secure, so
// that the cookie is Secure there too, without TLS.
func (c *Console) setCookie(w http.ResponseWriter, session *ticket) {
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: c.Keys.seal(session), Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
}

// clearCookie has the browser forget its session.
func clearCookie(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode})
}

// identity returns whose session it is, as the services for programs know
// callers.
func (t *ticket) identity() api.Identity {
	return api.Identity{Name: t.name, Roles: t.roles, Via: "console"}
}

// Link returns a link to the console at an address that signs in once, and when
// it ends.
func (k *Keys) Link(address string, who api.Identity, end time.Time) (link string, until time.Time) {
	now := time.Now()
	until = now.Add(linkLife)
	t := &ticket{kind: linkTicket, id: newID(), made: now, until: until, end: end, name: limitName(who.Name), roles: who.Roles}
	return address + signInPath + "?token=" + k.seal(t), until
}

// handOver returns a link to the console of another node, for the same person.
func (c *Console) handOver(session *ticket, node, address string) string {
	now := time.Now()
	t := &ticket{
		kind: handOverTicket, id: newID(), made: now, until: now.Add(handOverLife), end: session.end,
		node: node, name: session.name, roles: session.roles,
	}
	return address + signInPath + "?token=" + c.Keys.seal(t)
}

// limitName keeps a name short enough for a cookie.
func limitName(name string) string {
	const most = 200
	if len(name) > most {
		return name[:most]
	}
	return name
}
