// @ts-check
// An open conversation: its messages, their outcomes, and the box to write in.
import { outcomeWord } from "./simp.js";
import { clean, cleanLine, dayOf, splitLinks, timeOf } from "./text.js";
import { h, put } from "./view.js";

/** @typedef {import("./model.js").Message} Message */
/** @typedef {import("./model.js").Conversation} Conversation */
/** @typedef {(name: string, args?: object) => void} Call */

const page = 100, mostShown = 300, longText = 1500, longLines = 20;
const final = [400, 403, 404, 413]; // to listen would change nothing

/** symbolOf returns a sign that goes with the word of an outcome. @param {number} status */
function symbolOf(status) { return status === 0 ? "\u2026" : status === 200 ? "\u2713" : status === 201 ? "?" : "\u2715"; }

/** @param {number} status */
export function wordOf(status) { return status === 0 ? "sending" : outcomeWord(status); }

/** sentence says what became of a message for one recipient. @param {import("./simp.js").Result} r */
export function sentence(r) {
  const to = cleanLine(r.to), word = wordOf(r.status);
  if (r.status === 200) return `delivered to ${to}`;
  if (r.status === 201) return `in doubt, ${to}`;
  return word === "not delivered" ? `not delivered to ${to}` : `not delivered to ${to}: ${word}`;
}

/** Talk shows one conversation in a log. */
export class Talk {
  /**
   * @param {string} key
   * @param {Conversation} conversation
   * @param {Call} call
   * @param {() => string[]} waiting whom the user will be told of
   */
  constructor(key, conversation, call, waiting) {
    this.key = key;
    this.conversation = conversation;
    this.call = call;
    this.waiting = waiting;
    this.names = conversation.to.map(cleanLine);
    this.log = h("div.log", { role: "log", "aria-label": `Messages with ${this.names.join(", ")}`, "aria-relevant": "additions", tabindex: 0 });
    /** @type {WeakMap<Message, HTMLElement>} */
    this.elements = new WeakMap();
    /** where the unread messages began when the conversation was opened */
    this.marker = conversation.unread ? conversation.messages.length - conversation.unread : -1;
    this.from = Math.max(0, conversation.messages.length - page);
    if (this.marker >= 0) this.from = Math.min(this.from, Math.max(0, this.marker - 5));
    this.earlier = h("button.earlier", { type: "button", click: () => this.showEarlier() }, "Show earlier messages");
    this.render();
  }

  /** render shows the messages from this.from on. */
  render() {
    const rows = [];
    for (let i = this.from; i < this.conversation.messages.length; i++) rows.push(...this.rows(i));
    put(this.log, this.from > 0 && this.earlier, ...rows);
    if (!rows.length) put(this.log, h("p.empty", {}, "No messages yet. What is sent here is delivered at once, or not at all."));
  }

  /** rows returns the separators before a message, and the message. @param {number} i */
  rows(i) {
    const list = this.conversation.messages, m = list[i], rows = [];
    if (!list[i - 1] || dayOf(list[i - 1].time) !== dayOf(m.time)) rows.push(h("p.day", {}, dayOf(m.time)));
    if (i === this.marker) rows.push(h("p.unread", {}, "New messages"));
    rows.push(this.element(m));
    return rows;
  }

  /** atEnd reports whether the newest message is in view. */
  atEnd() { return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80; }

  scrollToEnd() { this.log.scrollTop = this.log.scrollHeight; }

  /** open scrolls to where the user should read. */
  open() {
    const mark = this.log.querySelector(".unread");
    if (mark) mark.scrollIntoView({ block: "center" });
    else this.scrollToEnd();
  }

  /** mark has the newest message begin the unread ones, if it is the first of them. */
  mark() {
    if (this.conversation.unread !== 1) return;
    this.log.querySelector(".unread")?.remove();
    this.marker = this.conversation.messages.length - 1;
  }

  /** append shows the newest message. */
  append() {
    const list = this.conversation.messages, end = this.atEnd(), mine = list[list.length - 1].mine;
    if (list.length === 1) put(this.log);
    this.log.append(...this.rows(list.length - 1));
    if (!end && !mine) return;
    if (this.log.childElementCount > mostShown) {
      this.from = list.length - page;
      this.render();
    }
    this.scrollToEnd();
  }

  showEarlier() {
    const before = this.log.scrollHeight - this.log.scrollTop;
    this.from = Math.max(0, this.from - page);
    this.render();
    this.log.scrollTop = this.log.scrollHeight - before;
    this.log.focus();
  }

  /** @param {Message} m */
  element(m) {
    const text = clean(m.text);
    const body = h("p.text", { dir: "auto" }, ...splitLinks(text).map(piece =>
      piece.link ? h("a", { href: piece.text, target: "_blank", rel: "noopener noreferrer nofollow" }, piece.text) : piece.text));
    const long = text.length > longText || text.split("\n", longLines + 1).length > longLines;
    const all = long && h("button.all", { type: "button", click: () => { body.classList.remove("long"); all && all.remove(); } }, "Show all");
    if (long) body.classList.add("long");
    const element = h(m.mine ? "div.message.mine" : "div.message", {},
      h("p.by", {}, h("bdi", {}, m.mine ? "You" : cleanLine(m.from)), " ", h("time", { datetime: new Date(m.time).toISOString() }, timeOf(m.time))),
      body, all, m.mine && h("div.outcome"));
    this.elements.set(m, element);
    if (m.mine) this.showOutcome(m);
    return element;
  }

  /** showOutcome shows what became of a message now. @param {Message} m */
  showOutcome(m) {
    const place = this.elements.get(m)?.querySelector(".outcome");
    if (!place) return;
    const hadFocus = place.contains(document.activeElement), several = m.results.length > 1;
    const failed = m.results.filter(r => r.status > 201 && !final.includes(r.status)).map(r => r.to);
    const told = failed.length > 0 && failed.every(to => this.waiting().includes(to));
    put(place,
      ...m.results.map(r => h("span.result", { "data-status": r.status }, h("span", { "aria-hidden": "true" }, symbolOf(r.status)), " ",
        several ? `${cleanLine(r.to)}: ${wordOf(r.status)}` : wordOf(r.status))),
      m.results.some(r => r.status === 201) && h("button", { type: "button", click: () => this.call("retry", { key: this.key, id: m.id }) }, "Try again"),
      told ? h("span", {}, "You will be told") : failed.length > 0 && h("button", { type: "button", click: () => this.call("tell", { to: failed }) }, "Tell me when they listen"));
    if (hadFocus) this.log.focus();
    else if (this.atEnd()) this.scrollToEnd();
  }

  /** showOutcomes shows all outcomes anew. */
  showOutcomes() { for (const m of this.conversation.messages.slice(this.from)) if (m.mine) this.showOutcome(m); }
}
