package main

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"

	"simpd/cmd/testkit/site"
)

// What a page holds that a person would look at.
var (
	formPattern  = regexp.MustCompile(`(?is)<form[^>]*>.*?</form>`)
	inputPattern = regexp.MustCompile(`(?is)<(?:input|button)[^>]*>`)
	titlePattern = regexp.MustCompile(`(?is)<title>(.*?)</title>`)
)

// attribute returns an attribute of a tag.
func attribute(tag, name string) string {
	found := regexp.MustCompile(`(?is)\s` + name + `="([^"]*)"`).FindStringSubmatch(tag)
	if found == nil {
		return ""
	}
	return html.UnescapeString(found[1])
}

// signIn opens a page and sends its form, and those of the pages that follow,
// with a user's name and password, until there is none. It returns the title of
// the last page.
func signIn(address, user string) (title string, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := &http.Client{Jar: jar, Timeout: site.Patience}
	answer, err := browser.Get(address)
	for range 10 {
		if err != nil {
			return "", err
		}
		page, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			return "", err
		}
		if found := titlePattern.FindSubmatch(page); found != nil {
			title = strings.TrimSpace(string(found[1]))
		}
		form := formPattern.FindString(string(page))
		if form == "" {
			return title, nil
		}
		fields := url.Values{}
		for _, input := range inputPattern.FindAllString(form, -1) {
			switch name := attribute(input, "name"); name {
			case "", "abort":
			case "login", "password", "username":
				fields.Set(name, user)
			default:
				fields.Set(name, attribute(input, "value"))
			}
		}
		to, err := answer.Request.URL.Parse(attribute(form, "action"))
		if err != nil {
			return "", err
		}
		if answer, err = browser.PostForm(to.String(), fields); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("the pages do not end: the last is %q", title)
}
