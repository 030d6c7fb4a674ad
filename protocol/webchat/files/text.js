// @ts-check
// What people wrote, made safe to show, and times in words.

// Characters that change how others are shown: controls (except newline and
// tab), bidirectional controls, and separators of lines.
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/**
 * clean returns text with characters that could disguise it made visible.
 * @param {string} text
 */
export function clean(text) {
  return text.replace(/\r\n?/g, "\n").replace(hidden, show);
}

// Characters that take no place, or look like a space: two addresses could look the same.
const invisible = /[\u00ad\u034f\u115f\u1160\u180e\u200b\u2800\u3164]/g;

/** show returns what is shown instead of a character. @param {string} c */
function show(c) { return `\u27e8U+${c.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}\u27e9`; }

/** cleanLine is clean for what has one line, as addresses and notes. @param {string} text */
export function cleanLine(text) { return clean(text).replace(/[\n\t]/g, " ").replace(invisible, show); }

/**
 * splitLinks returns text in pieces, of which some are links.
 * @param {string} text
 * @returns {{ text: string, link: boolean }[]}
 */
export function splitLinks(text) {
  const pieces = [];
  let at = 0;
  for (const found of text.matchAll(/https?:\/\/[^\s<>"\u27e8\u27e9]+/g)) {
    let end = found[0].length;
    while (".,;:!?'*_".includes(found[0][end - 1])) end--;
    let url = found[0].slice(0, end);
    if (url.endsWith(")") && !url.includes("(")) url = url.slice(0, -1);
    if (!URL.canParse(url)) continue;
    if (found.index > at) pieces.push({ text: text.slice(at, found.index), link: false });
    pieces.push({ text: url, link: true });
    at = found.index + url.length;
  }
  if (at < text.length) pieces.push({ text: text.slice(at), link: false });
  return pieces;
}

/** hostOf returns a domain as the server writes it: international ones in ASCII. @param {string} domain */
function hostOf(domain) {
  if (/^[\0-\x7f]*$/.test(domain)) return domain.toLowerCase();
  return URL.canParse(`http://${domain}`) && !/[/?#\\:@%]/.test(domain) ? new URL(`http://${domain}`).hostname : "";
}

/**
 * canonical returns an address as the server writes it, so far as that can be
 * known here; a name alone is a user of the same site. It returns "" for what
 * is no address.
 * @param {string} typed
 * @param {string} me
 */
export function canonical(typed, me) {
  const domain = hostOf(me.slice(me.lastIndexOf("@") + 1));
  typed = typed.trim();
  if (typed && !typed.includes("@")) typed += `@${domain}`;
  const at = typed.lastIndexOf("@");
  if (at < 1 || at === typed.length - 1 || /[\s"]/.test(typed)) return "";
  const host = hostOf(typed.slice(at + 1)), local = typed.slice(0, at);
  return host && `${host === domain ? local.toLowerCase() : local}@${host}`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** timeOf returns the time of day. @param {number} time */
export function timeOf(time) { return clock.format(time); }

/** dayOf returns the day. @param {number} time */
export function dayOf(time) { return date.format(time); }
