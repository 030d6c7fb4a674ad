package console

import (
	"context"
	"errors"
	"html/template"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"simpd/cluster/api"
)

const (
	signInPath  = "/signin"
	useTimeout  = 10 * time.Second
	maxSignIn   = 4 << 10 // octets of the form
	tokenField  = "token"
	signInStyle = "/signin/style.css"
)

// signInPage is what is shown to whoever has not signed in. It needs no script.
var signInPage = template.Must(template.New("signin").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
{{- if .Next}}
<meta http-equiv="refresh" content="0;url=/">
{{- end}}
<title>{{.Title}}</title>
<link rel="stylesheet" href="/signin/style.css">
</head>
<body>
<main class="gate">
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
{{- if .Token}}
<form method="post" action="/signin" aria-label="Sign in"><input type="hidden" name="token" value="{{.Token}}"><button class="primary" type="submit">{{.Button}}</button></form>
{{- else if .Next}}
<p><a href="/">Go to the console</a></p>
{{- else}}
<p>To sign in, run this command, and open the link that it prints within a minute:</p>
<pre><code>simpctl console</code></pre>
{{- end}}
</main>
</body>
</html>
`))

// signInView is what the page shows.
type signInView struct {
	Title, Text, Token, Button string
	Next                       bool // the browser goes on to the console
}

func (q *request) showSignIn(status int, v signInView) {
	showSignIn(q.w, q.r, status, v)
}

func showSignIn(w http.ResponseWriter, r *http.Request, status int, v signInView) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "+
		"require-trusted-types-for 'script'; trusted-types 'none'")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_ = signInPage.Execute(w, v) // the browser may be gone
	}
}

// getSignIn answers a link. A link that was opened from the address bar or a
// terminal signs in at once. One that a page of another origin leads to asks
// first: else that page could sign somebody in as another. So does one that is
// only looked at in advance, which must not use the token up.
func getSignIn(q *request) {
	token := q.r.URL.Query().Get(tokenField)
	switch {
	case token == "":
		q.showSignIn(http.StatusOK, signInView{Title: "SIMP console", Text: "You have not signed in."})
	case q.r.Method == http.MethodHead || strings.Contains(q.r.Header.Get("Sec-Purpose"), "prefetch"):
		q.showSignIn(http.StatusForbidden, signInView{Title: "SIMP console", Text: "Open the link itself."})
	case isCrossSite(q.r):
		q.offerSignIn(token)
	default:
		q.signIn(token)
	}
}

// offerSignIn asks whether to sign in.
func (q *request) offerSignIn(token string) {
	t, err := q.console.openLink(token)
	if err != nil {
		q.refuseLink(nil, err)
		return
	}
	q.showSignIn(http.StatusOK, signInView{
		Title: "SIMP console", Text: "Continue on " + q.console.NodeID + " as " + t.name + "?", Token: token, Button: "Continue on " + q.console.NodeID,
	})
}

// postSignIn takes the form of the page, which only that page can send: the
// check of origins has passed.
func postSignIn(q *request) {
	body, err := q.readBody(maxSignIn)
	form, wrong := url.ParseQuery(string(body))
	mediaType, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err != nil || wrong != nil || mediaType != "application/x-www-form-urlencoded" {
		refuse(q.w, http.StatusBadRequest, "this is not the form")
		return
	}
	q.signIn(form.Get(tokenField))
}

// openLink returns the ticket of a link that leads here.
func (c *Console) openLink(token string) (*ticket, error) {
	if err := c.CaughtUp(); err != nil {
		return nil, err
	}
	t, err := c.Keys.open(token, linkTicket, handOverTicket)
	if err == nil && t.node != "" && t.node != c.NodeID {
		return nil, errNoTicket
	}
	return t, err
}

// signIn uses the token of a link, and begins a session.
func (q *request) signIn(token string) {
	c := q.console
	t, err := c.openLink(token)
	if err == nil {
		ctx, cancel := context.WithTimeout(q.r.Context(), useTimeout)
		defer cancel()
		err = c.Use(ctx, t.id[:], t.until, t.generation)
	}
	if err != nil {
		q.refuseLink(t, err)
		return
	}
	c.auditSignIn(t, nil)
	c.begin(q.w, t)
	q.showSignIn(http.StatusOK, signInView{Title: "SIMP console", Text: "You are signed in as " + t.name + ".", Next: true})
}

// refuseLink says why a link does not sign in. t is nil if nobody knows whose it
// is.
func (q *request) refuseLink(t *ticket, err error) {
	status, text := http.StatusForbidden, "This link is not valid."
	switch {
	case errors.Is(err, ErrUsed), errors.Is(err, errExpired):
		text = "This link was used already, or it is older than a minute."
	case errors.Is(err, errVoid):
		text = "An operator has revoked all links and sessions."
	case !errors.Is(err, errNoTicket):
		status, text = http.StatusServiceUnavailable, "This node could not take the link: "+err.Error()+"."
	}
	if t != nil {
		q.console.auditSignIn(t, err)
	}
	q.showSignIn(status, signInView{Title: "SIMP console", Text: text})
}

// auditSignIn records that somebody has signed in, or was refused.
func (c *Console) auditSignIn(t *ticket, err error) {
	r := api.AuditRecord{Who: t.name, Via: "console", What: "Console/SignIn", Whom: c.NodeID, Outcome: "OK"}
	if err != nil {
		r.Outcome, r.Why = "PermissionDenied", err.Error()
	}
	c.Programs.Audit(r)
}

// refuseStranger answers a request without a valid session: a page to a person,
// a sentence to a program.
func (c *Console) refuseStranger(w http.ResponseWriter, r *http.Request, err error) {
	if r.Method == http.MethodGet && targetOf(r) == "/" && strings.Contains(r.Header.Get("Accept"), "text/html") {
		text := "You have not signed in."
		if !errors.Is(err, errNoCookie) {
			text = "Your session has ended: " + err.Error() + "."
		}
		showSignIn(w, r, http.StatusUnauthorized, signInView{Title: "SIMP console", Text: text})
		return
	}
	refuse(w, http.StatusUnauthorized, "sign in first: run simpctl console, and open the link that it prints")
}

// signOut has the browser forget its session.
func signOut(q *request) {
	clearCookie(q.w)
	q.answer(map[string]bool{"done": true})
}
