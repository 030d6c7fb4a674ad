package protocol

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// localEnd returns the place behind the local part that s begins with, where
// the @ has to be, or -1.
func localEnd(s string) int {
	if strings.HasPrefix(s, `"`) {
		if end := skipQuoted(s, 0); end > 0 {
			return end + 1
		}
		return -1
	}
	return strings.IndexByte(s, '@')
}

// parseLocal reads a local part, and returns it without needless quotes or why
// it is none.
func parseLocal(s string) (local, why string) {
	if strings.HasPrefix(s, `"`) {
		return parseQuotedLocal(s[1 : len(s)-1])
	}
	if why := checkDotAtom(s); why != "" {
		return "", why
	}
	if len(s) > maxLocal {
		return "", "its local part has more than 64 octets"
	}
	return s, ""
}

// checkDotAtom says what is wrong with s as an RFC 5321 Dot-string; "" if nothing.
func checkDotAtom(s string) string {
	if s == "" {
		return "its local part is empty"
	}
	if s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return "a dot of its local part stands beside nothing"
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return checkUTF8Local(s)
		}
		if s[i] != '.' && !isAtext(s[i]) {
			return "its local part has a character that must be quoted"
		}
	}
	return ""
}

// checkUTF8Local is checkDotAtom's second pass, for what is not all ASCII.
func checkUTF8Local(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < utf8.RuneSelf && s[i] != '.' && !isAtext(s[i]) {
			return "its local part has a character that must be quoted"
		}
	}
	return checkRunes(s)
}

// checkRunes refuses invalid UTF-8 and control characters. RFC 6531 allows all
// other characters beyond ASCII, whichever version of Unicode has them; what a
// site's own users may be called is narrower (Address.PRECISFold).
func checkRunes(s string) string {
	if !utf8.ValidString(s) {
		return "it is not valid UTF-8"
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return "its local part has a control character"
		}
	}
	return ""
}

// isAtext is RFC 5322's atext.
func isAtext(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c > 0x20 && c < 0x7F && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// parseQuotedLocal reads what stands between the quotes of an RFC 5321
// Quoted-string, and writes it with as few quotes and backslashes as do.
func parseQuotedLocal(s string) (local, why string) {
	content := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++ // skipQuoted has seen to it that something follows
			if s[i] >= utf8.RuneSelf {
				return "", "a backslash of its local part stands before no ASCII character"
			}
		}
		if s[i] < 0x20 || s[i] == 0x7F {
			return "", "its local part has a control character"
		}
		content = append(content, s[i])
	}
	if why := checkRunes(string(content)); why != "" {
		return "", why
	}
	return unquoteLocal(string(content))
}

// unquoteLocal writes the content of a quoted local part as it is canonical.
func unquoteLocal(content string) (local, why string) {
	if checkDotAtom(content) == "" {
		local = content
	} else {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(content) + `"`
	}
	if content == "" {
		return "", "its local part is empty"
	}
	if len(local) > maxLocal {
		return "", "its local part has more than 64 octets"
	}
	return local, ""
}
