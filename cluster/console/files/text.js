// @ts-check
// What people wrote, made safe to show.

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
