// @ts-check
// What all pages are made of.
import { cleanLine } from "./text.js";
import { h, openDialog, put } from "./view.js";
import { call } from "./live.js";

/** @typedef {import("./view.js").Child} Child */

/** text makes what somebody else wrote safe to show. @param {unknown} value */
export const text = value => cleanLine(String(value ?? ""));

/** announce tells screen readers. @param {string} what */
export function announce(what) {
  const said = document.getElementById("said");
  if (said) put(said, h("p", {}, what));
}

/**
 * morph makes one element like another, and keeps what is alike: so that the
 * focus stays where it is while numbers change.
 * @param {Element} old @param {Element} next
 */
export function morph(old, next) {
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  /** @type {Map<string, Element>} */
  const keyed = new Map();
  for (const child of old.children) if (child instanceof HTMLElement && child.dataset.key) keyed.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const child of [...next.childNodes]) {
    const key = child instanceof HTMLElement ? child.dataset.key : undefined;
    const known = key ? keyed.get(key) : at;
    if (known && known !== at && key) old.insertBefore(known, at);
    if (known && alike(known, child)) {
      if (child instanceof Element) morph(/** @type {Element} */ (known), child);
      else if (known.nodeValue !== child.nodeValue) known.nodeValue = child.nodeValue;
      at = known.nextSibling;
    } else {
      old.insertBefore(child, at);
    }
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

/** @param {Node} a @param {Node} b */
const alike = (a, b) => a.nodeName === b.nodeName && (!(a instanceof HTMLElement) || a.dataset.key === /** @type {HTMLElement} */ (b).dataset.key);

/** show replaces what an element holds, as far as it differs. @param {Element} where @param {...(Child | Child[])} children */
export function show(where, ...children) {
  const next = /** @type {Element} */ (where.cloneNode(false));
  next.append(.../** @type {(Node | string)[]} */ (children.flat().filter(child => child !== false && child !== null && child !== undefined && child !== "")));
  morph(where, next);
}

/** mark is a state in a word, with a symbol. @param {string} kind @param {string} word */
export const mark = (kind, word) => h(`span.mark${kind && `.${kind}`}`, {}, word);

/** act is a button that is part of a page. @param {string} name @param {string} label @param {Record<string, string>} [data] */
export const act = (name, label, data = {}) => h("button.small", { type: "button", "data-act": name, ...Object.fromEntries(Object.entries(data).map(([key, value]) => [`data-${key}`, value])) }, label);

/** facts are names and values. @param {[string, Child][]} pairs @param {string} [kind] */
export const facts = (pairs, kind = "") => h(`dl.facts${kind && `.${kind}`}`, {}, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

/**
 * table is a table. A column is its name, "#name" for numbers, "@name" for
 * times and "" for buttons.
 * @param {string} name @param {string[]} columns
 * @param {{ key: string, cells: Child[] }[]} rows @param {string} none what is said of no rows
 */
export function table(name, columns, rows, none) {
  if (!rows.length) return h("p.empty", {}, none);
  const kind = (/** @type {string} */ column) => column === "" ? ".act" : column[0] === "#" ? ".number" : column[0] === "@" ? ".time" : "";
  const label = (/** @type {string} */ column) => column.replace(/^[#@]/, "");
  return h("table.wide", { "aria-label": name, role: "table" },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, ...columns.map(column => h(`th${kind(column)}`, { scope: "col", role: "columnheader" }, label(column) || h("span.unseen", {}, "Actions"))))),
    h("tbody", { role: "rowgroup" }, ...rows.map(({ key, cells }) => h("tr", { "data-key": key, role: "row" }, ...cells.map((cell, i) =>
      h(`td${kind(columns[i])}`, { role: "cell", "data-label": label(columns[i]) || undefined }, cell))))));
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** timeOf is a time of day. @param {number} ms */
export const timeOf = ms => clock.format(ms);

/** dateOf is a date and a time. @param {string | undefined} iso */
export const dateOf = iso => iso ? date.format(new Date(iso)) : "–";

/** momentOf is a time of today, or a date and a time. @param {number} ms */
export const momentOf = ms => new Date(ms).toDateString() === new Date().toDateString() ? clock.format(ms) : date.format(ms);

/** since is for how long something has been so, in its largest units. @param {string | number | null | undefined} from */
export function since(from) {
  if (!from) return "–";
  const seconds = Math.max(0, Math.floor((Date.now() - new Date(from).getTime()) / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds / 60) % 60} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

const plain = new Intl.NumberFormat("en");

/** number is a number with separators. @param {number | string} n */
export const number = n => plain.format(Number(n));

/**
 * Act is something that an operator can have done.
 * @typedef {{ path: string, body: object, title: string, what: string, command: string, done: string, button: string, whenDone?: () => void }} Act
 */

/** ask says what an act will do, and the command that does the same, and has it done if the operator agrees. @param {Act} act */
export function ask(act) {
  const problem = h("p.problem", { role: "alert" }), confirm = h("button.primary", { type: "submit" }, act.button);
  const form = h("form", { "aria-label": act.title, submit: async event => {
    event.preventDefault();
    confirm.disabled = true;
    try {
      await call(act.path, act.body);
      dialog.close();
      announce(act.done);
      act.whenDone?.();
    } catch (err) {
      put(problem, text(/** @type {Error} */ (err).message));
      confirm.disabled = false;
    }
  } }, h("p", {}, act.what), h("p.help", {}, "The same as a command:"), h("pre", { tabindex: "0" }, h("code", {}, act.command)), problem,
  h("div.buttons", {}, confirm, h("button", { type: "button", click: () => dialog.close() }, "Cancel")));
  const dialog = openDialog(act.title, form);
  confirm.focus();
}

/** quote makes an argument safe for a shell. @param {string} argument */
export const quote = argument => /^[\w@.:+/-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;

const svgNS = "http://www.w3.org/2000/svg";

/** svg makes an element of a drawing. @param {string} kind @param {Record<string, string | number>} attributes @param {...Element} children */
function svg(kind, attributes, ...children) {
  const element = document.createElementNS(svgNS, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * plot draws values over time, the newest on the right.
 * @param {string} label for screen readers @param {number[]} values @param {number} top the value at the upper edge
 * @param {number} places how many values the width has room for @param {number} width @param {number} height
 */
export function plot(label, values, top, places, width, height) {
  const x = (/** @type {number} */ i) => width - (values.length - 1 - i) * width / Math.max(1, places - 1);
  const y = (/** @type {number} */ v) => height - 1 - (top > 0 ? Math.min(1, v / top) : 0) * (height - 3);
  const points = values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
  const drawing = svg("svg", { class: "plot", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" },
    svg("line", { class: "grid", x1: 0, x2: width, y1: height - 1, y2: height - 1 }));
  if (values.length > 1) {
    drawing.append(svg("polygon", { class: "area", points: `${x(0).toFixed(1)},${height - 1} ${points} ${width},${height - 1}` }), svg("polyline", { class: "curve", points }));
  }
  return drawing;
}

/** field is a labelled input. @param {string} label @param {HTMLElement} input */
export const field = (label, input) => h("label.field", {}, h("span", {}, label), input);
