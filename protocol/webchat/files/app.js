// @ts-check
// The page. DESIGN.md describes it.
import { Tabs, canonical, clean, cleanLine, dayOf, findMessage, keyOf, keyOfHash, listens, markWord, sentence, socketURL, splitLinks, stateOf, timeOf, wordOf } from "./engine.js";
import { join, mechanisms, stateWord } from "./simp.js";
/** @import { Child, Conversation, Event, Message, Model, ShownKey } from "../types.js" */

// ---- View: a small helper to make elements. Text goes in as text only ----

/** @template {keyof HTMLElementTagNameMap} T @param {T | `${T}.${string}`} kind @param {{ [name: string]: string | number | boolean | undefined | ((event: any) => void) }} [attributes] @param {...(Child | Child[])} children @returns {HTMLElementTagNameMap[T]} */
export function h(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const element = /** @type {HTMLElementTagNameMap[T]} */ (document.createElement(tag));
  if (classes.length) element.className = classes.join(" ");
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value !== undefined) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(.../** @type {(Node | string)[]} */ (children.flat().filter(child => child !== false && child !== null && child !== undefined && child !== "")));
  return element;
}

/** @param {Element} element @param {...Child} children */
export function put(element, ...children) {
  element.replaceChildren(.../** @type {(Node | string)[]} */ (children.filter(child => child !== false && child !== null && child !== undefined)));
}

/** @param {Element} element @param {string} text */
export function setText(element, text) { if (element.textContent !== text) element.textContent = text; }

/** @param {Element} where */
function hearIn(where) {
  const said = /** @type {HTMLElement} */ (document.getElementById("said"));
  put(said);
  where.append(said);
}

/** @param {string} title @param {...(Child | Child[])} content */
export function openDialog(title, ...content) {
  const dialog = h("dialog", { "aria-label": title, close: () => { hearIn(document.body); dialog.remove(); } },
    h("header", {}, h("h2", {}, title), h("button", { type: "button", click: () => dialog.close() }, "Close")), ...content);
  document.body.append(dialog);
  hearIn(dialog);
  dialog.showModal();
  return dialog;
}

/** @param {string} label @param {HTMLElement} input */
export function field(label, input) { return h("label.field", {}, h("span", {}, label), input); }

// ---- Talk: an open conversation ----

const page = 100, mostShown = 300, longText = 1500, longLines = 20;
const final = [400, 403, 404, 413];

/** @param {number} status */
function symbolOf(status) { return status === 0 ? "\u2026" : status === 200 ? "\u2713" : status === 201 ? "?" : "\u2715"; }

export class Talk {
  /** @param {string} key @param {Conversation} conversation @param {(name: string, args?: object) => void} call @param {() => string[]} waiting @param {() => void} compare */
  constructor(key, conversation, call, waiting, compare) {
    this.key = key;
    this.conversation = conversation;
    this.call = call;
    this.waiting = waiting;
    this.compare = compare;
    this.names = conversation.to.map(cleanLine);
    this.log = h("div.log", { role: "log", "aria-label": `Messages with ${this.names.join(", ")}`, "aria-relevant": "additions", tabindex: 0 });
    /** @type {WeakMap<Message, HTMLElement>} */
    this.elements = new WeakMap();
    this.marker = conversation.unread ? conversation.messages.length - conversation.unread : -1;
    this.from = Math.max(0, conversation.messages.length - page);
    if (this.marker >= 0) this.from = Math.min(this.from, Math.max(0, this.marker - 5));
    this.earlier = h("button.earlier", { type: "button", click: () => this.showEarlier() }, "Show earlier messages");
    this.render();
  }

  render() {
    const rows = [];
    for (let i = this.from; i < this.conversation.messages.length; i++) rows.push(...this.rows(i));
    put(this.log, this.from > 0 && this.earlier, ...rows);
    if (!rows.length) put(this.log, h("p.empty", {}, "No messages yet. What is sent here is delivered at once, or not at all."));
  }

  /** @param {number} i */
  rows(i) {
    const list = this.conversation.messages, m = list[i], rows = [];
    if (!list[i - 1] || dayOf(list[i - 1].time) !== dayOf(m.time)) rows.push(h("p.day", {}, dayOf(m.time)));
    if (i === this.marker) rows.push(h("p.unread", {}, "New messages"));
    rows.push(this.element(m));
    return rows;
  }

  atEnd() { return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80; }

  scrollToEnd() { this.log.scrollTop = this.log.scrollHeight; }

  open() {
    const mark = this.log.querySelector(".unread");
    if (mark) mark.scrollIntoView({ block: "center" });
    else this.scrollToEnd();
  }

  mark() {
    if (this.conversation.unread !== 1) return;
    this.log.querySelector(".unread")?.remove();
    this.marker = this.conversation.messages.length - 1;
  }

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
    if (m.notice) return h("p.day", { role: "note" }, cleanLine(m.text), " ", this.comparing());
    const { mark } = m, bad = mark?.state === "bad";
    const text = clean(m.text);
    const body = h("p.text", { dir: "auto" }, ...splitLinks(text).map(piece =>
      piece.link ? h("a", { href: piece.text, target: "_blank", rel: "noopener noreferrer nofollow" }, piece.text) : piece.text));
    const long = text.length > longText || text.split("\n", longLines + 1).length > longLines;
    const all = long && h("button.all", { type: "button", click: () => { body.classList.remove("long"); all && all.remove(); } }, "Show all");
    if (long) body.classList.add("long");
    const reveal = h("button.all", { type: "button", click: () => reveal.replaceWith(body) }, "Show the text");
    const element = h(m.mine ? "div.message.mine" : "div.message", {},
      h("p.by", {}, h("bdi", {}, m.mine ? "You" : cleanLine(m.from)), " ", h("time", { datetime: new Date(m.time).toISOString() }, timeOf(m.time)),
        mark && " ", mark && h("span.mark", { "data-state": mark.state }, markWord(mark))),
      mark?.why && h("p.help", {}, `${mark.why[0].toUpperCase()}${mark.why.slice(1)}.`), mark?.state === "new key" && this.comparing(),
      ...bad ? [reveal] : [body, all], m.mine && h("div.outcome"));
    this.elements.set(m, element);
    if (m.mine) this.showOutcome(m);
    return element;
  }

  comparing() { return h("button.all", { type: "button", click: this.compare }, "Compare keys"); }

  /** @param {Message} m */
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

  showOutcomes() { for (const m of this.conversation.messages.slice(this.from)) if (m.mine) this.showOutcome(m); }
}

// ---- Dialogs ----

/** @param {Page} page @param {string} title @param {string} label @param {string} help @param {string} action @param {(addresses: string[]) => Promise<void>} act */
function askAddresses(page, title, label, help, action, act) {
  const input = h("input", { type: "text", inputmode: "email", autocapitalize: "none", spellcheck: "false", autocomplete: "off", required: true });
  const problem = h("p.problem", { role: "alert" });
  const form = h("form", { submit: async event => {
    event.preventDefault();
    const typed = input.value.split(/[\s,;]+/).filter(Boolean), addresses = [...new Set(typed.map(one => canonical(one, page.model.me)))];
    if (!typed.length || addresses.includes("")) return put(problem, "An address must look like bob@example.com.");
    if (addresses.length > 64) return put(problem, "At most 64 recipients are allowed.");
    try {
      await act(addresses);
      dialog.close();
    } catch (err) {
      put(problem, cleanLine(/** @type {Error} */ (err).message));
    }
  } }, field(label, input), h("p.help", {}, help), problem, h("button.primary", { type: "submit" }, action));
  const dialog = openDialog(title, form);
  input.focus();
}

/** @param {Page} page */
export function showAdd(page) {
  askAddresses(page, "Add contact", "Address", "You see when they listen, if they allow it.", "Add", async addresses => {
    for (const address of addresses) await page.tabs.call("addContact", { address });
    page.openKey(addresses[0], true);
  });
}

/** @param {Page} page */
export function showSeveral(page) {
  askAddresses(page, "Write to several", "Addresses", "Separate them with spaces or commas. Each outcome is shown.", "Write", async addresses => page.openKey(keyOf(addresses), true));
}

/** @param {Page} page */
export function showSettings(page) {
  const { prefs, stay, blocked } = page.model;
  const box = (/** @type {string} */ label, /** @type {boolean} */ on, /** @type {(on: boolean) => void} */ change) =>
    h("label.choice", {}, h("input", { type: "checkbox", checked: on, change: event => change(event.target.checked) }), label);
  const list = (/** @type {string[]} */ addresses, /** @type {string} */ none) => addresses.length
    ? h("ul", {}, ...addresses.map(one => h("li", {}, h("bdi", {}, cleanLine(one))))) : h("p", {}, none);
  const seen = h("div"), own = h("div", {}, "\u2026"), kept = h("span", { role: "status" });
  showOwnKeys(page, own).catch(err => put(own, cleanLine(err.message)));
  openDialog("Settings",
    box("Keep messages in this browser", prefs.history, history => page.act("setPrefs", { history })),
    box("Notify me of messages while this page is open", prefs.notify, async on => {
      const notify = on && "Notification" in window && await Notification.requestPermission() === "granted";
      await page.call("setPrefs", { notify });
      if (on && !notify) page.tell("This browser does not allow notifications from this page.");
    }),
    h("p", {}, h("button", { type: "button", click: async () => { await page.call("deleteHistory"); put(kept, " Deleted."); } }, "Delete kept messages"), kept),
    stay === "offered" && h("p", {}, h("button", { type: "button", click: event => void page.call("staySignedIn").then(() => event.target.replaceWith("This browser stays signed in until you sign out."), () => {}) }, "Stay signed in")),
    stay === "yes" && h("p", {}, "This browser stays signed in until you sign out."),
    h("h3", {}, "Keys of your devices"), own,
    h("h3", {}, "Who sees me"),
    h("p", {}, h("button", { type: "button", click: async () => put(seen, list(await page.call("watchers"), "Nobody watches you now.")) }, "Show who watches me now")), seen,
    h("h3", {}, "Blocked"), blocked.length ? h("ul.blocked", {}, ...blocked.map(address => {
      const item = h("li", {}, h("bdi", {}, cleanLine(address)), h("button", { type: "button", click: () => void page.call("block", { address, on: false }).then(() => item.remove(), () => {}) }, "Unblock"));
      return item;
    })) : h("p", {}, "Nobody is blocked."));
}

/** @param {ShownKey} k @param {...(Node | false)} rest */
function keyItem({ print, name, mine, verified, vouched, revoked }, ...rest) {
  const words = [cleanLine(name) || "(no name)", mine && "this browser", verified && "verified", revoked || vouched && "an older device vouches for it"].filter(Boolean).join(", ");
  return h("li", {}, h("span", {}, h("code", {}, print), h("br"), h("bdi", {}, words)), ...rest);
}

/** @param {Page} page @param {string} address */
export async function showKeys(page, address) {
  const { keys, own, rewritten } = await page.call("keysOf", { address }), who = cleanLine(address);
  const act = async (/** @type {string} */ name, /** @type {object} */ args) => {
    await page.call(name, args);
    dialog.close();
    await showKeys(page, address);
  };
  const button = (/** @type {string} */ label, /** @type {string} */ name, /** @type {object} */ args) => h("button", { type: "button", click: () => void act(name, args).catch(() => {}) }, label);
  const dialog = openDialog(`Keys of ${who}`,
    rewritten && h("p.problem", {}, "Their server rewrote their list of keys. Ask them by other means whether they know why."), rewritten && button("Forget the old list", "forgetKeys", { address }),
    h("p.help", {}, "Read fingerprints to each other by telephone or in person. If theirs is the same on both sides, the key is theirs."),
    keys.length ? h("ul.blocked", {}, ...keys.map((/** @type {ShownKey} */ k) => keyItem(k, !k.revoked && !k.verified && button("Mark as verified", "verifyKey", { address, kid: k.kid })))) : h("p", {}, `${who} has no keys, or takes no messages from you.`),
    own && h("p", {}, "Yours in this browser: ", h("code", {}, own)));
}

/** @param {Page} page @param {HTMLElement} place */
async function showOwnKeys(page, place) {
  const { keys, own, code } = await page.tabs.call("keysOf");
  const act = (/** @type {string} */ name, /** @type {object} */ args) => void page.call(name, args).then(() => showOwnKeys(page, place)).catch(() => {});
  const name = h("input", { maxlength: 60, autocomplete: "off", value: own ? "" : "web chat" }), typed = h("input", { autocomplete: "off", required: true });
  const form = (/** @type {string} */ label, /** @type {() => void} */ submit, /** @type {HTMLElement[]} */ ...fields) =>
    h("form", { "aria-label": label, submit: event => { event.preventDefault(); submit(); } }, ...fields, h("button", { type: "submit" }, label));
  put(place,
    h("ul.blocked", {}, ...keys.map((/** @type {ShownKey} */ k) => keyItem(k, !k.revoked && h("button", { type: "button", click: event => event.target.textContent === "Revoke" ? put(event.target, "Really revoke") : act("revokeKey", { kid: k.kid }) }, "Revoke")))),
    h("p.help", {}, own ? "This browser can vouch for a new device: then nobody is shown a new key." : "Let an older device vouch for this browser with the code, or add its key: others are then shown a new key."),
    own ? form("Vouch", () => act("vouch", { code: typed.value, name: name.value }), field("Code of the new device", typed), field("Name for it", name))
      : form("Add this browser's key", () => act("addKey", { name: name.value }), h("code", {}, code), field("Name for this browser", name)));
}

/** @param {Page} page @param {Conversation} conversation */
function showReport(page, { to: [address], messages }) {
  const options = (/** @type {string[][]} */ ...all) => all.map(([value, label = value]) => h("option", { value }, label));
  const reason = h("select", {}, ...options(["spam"], ["abuse"], ["other"]));
  const message = h("select", {}, ...options(...messages.filter(m => !m.mine && !m.notice).slice(-20).reverse().map(m => [m.id, `${timeOf(m.time)} ${m.mark?.state === "bad" ? "bad signature" : cleanLine(m.text.slice(0, 60))}`]), ["", "none"]));
  const dialog = openDialog("Report", h("p.help", {}, `The operators of your site, and those of ${cleanLine(address)}'s, see the message and your address.`),
    h("form", { submit: async event => {
      event.preventDefault();
      dialog.close();
      await page.call("report", { address, id: message.value, reason: reason.value }).then(() => page.tell("The report was sent."), () => {});
    } }, field("Message", message), field("Reason", reason), h("button.primary", { type: "submit" }, "Send report")));
}

/** @param {string} address @param {() => void} act */
export function confirmBlock(address, act) {
  const dialog = openDialog("Block", h("p", {}, h("bdi", {}, cleanLine(address)), " can then neither write to you nor see whether you listen. They are not told: for them you do not listen."),
    h("button.primary", { type: "button", click: () => { dialog.close(); act(); } }, "Block this address"));
}

// ---- Page ----

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const said = /** @type {HTMLElement} */ (document.getElementById("said"));

/** @param {string} text */
function announce(text) {
  said.append(h("p", {}, text));
  while (said.childElementCount > 20) said.firstElementChild?.remove();
}

export class Page {
  own = h("bdi.me");
  heading = h("h1", { tabindex: -1 }, this.own);
  line = h("p.line", { hidden: true });
  state = h("select", { "aria-label": "Your state", change: () => void this.setState() },
    ...["available", "away", "busy", "deaf"].map(s => h("option", { value: s }, stateWord(/** @type {any} */ (s)))));
  note = h("input", { "aria-label": "Your note", placeholder: "Your note", maxlength: 200, autocomplete: "off", change: () => void this.setState() });
  list = h("ul.contacts", { "aria-label": "Contacts", keydown: event => this.onArrow(event) });
  nobody = h("p.empty", {}, "Nobody is here yet. Add a contact by address.");
  main = h("main", { "aria-label": "Conversation" });
  notice = h("div.notice", { hidden: true });

  constructor() {
    this.code = "";
    this.takeCode();
    this.tabs = new Tabs(event => this.show(event));
    this.model = this.tabs.model;
    /** @type {string} */
    this.shown = "";
    /** @type {Talk | undefined} */
    this.talk = undefined;
    /** @type {Map<string, string>} what was typed and not sent, by conversation */
    this.drafts = new Map();
    /** @type {Map<string, HTMLLIElement>} */
    this.items = new Map();
    this.call = (/** @type {string} */ name, /** @type {object | undefined} */ args = undefined) =>
      this.tabs.call(name, args).catch(err => { this.tell(cleanLine(err.message)); throw err; });
    this.act = (/** @type {string} */ name, /** @type {object | undefined} */ args = undefined) => void this.call(name, args).catch(() => {});
    document.addEventListener("visibilitychange", () => this.onVisible());
    window.addEventListener("focus", () => this.onVisible());
    window.addEventListener("online", () => this.tabs.engine?.client?.wake());
    window.addEventListener("hashchange", () => this.takeCode() || this.openHash());
    document.addEventListener("freeze", () => void this.tabs.freeze());
    window.addEventListener("pagehide", () => void this.tabs.freeze());
    document.addEventListener("resume", () => this.tabs.thaw());
    window.addEventListener("pageshow", event => { if (event.persisted) this.tabs.thaw(); });
  }

  /** @param {string} text */
  tell(text) {
    put(this.notice, h("span", {}, text), h("button", { type: "button", click: () => { this.notice.hidden = true; } }, "Dismiss"));
    this.notice.hidden = false;
    announce(text);
  }

  /** @param {Event | { t: "all" }} event */
  show(event) {
    const { phase } = this.model;
    if (phase !== this.shown) this.showPhase(phase);
    if (phase !== "in") return;
    switch (event.t) {
      case "message": return this.onMessage(event);
      case "outcome": return this.onOutcome(event);
      case "notice": return this.tell(cleanLine(event.text));
      case "read": return this.showListSoon();
      case "presence":
        if (this.talk?.conversation.to.includes(event.address)) this.showPartner();
        return this.showListSoon();
    }
    if (event.t === "all" || event.t === "load") this.openKey(this.talk?.key);
    this.showHead();
    this.showPartner();
    this.talk?.showOutcomes();
    this.showListSoon();
  }

  /** @param {Model["phase"]} phase */
  showPhase(phase) {
    const before = this.shown;
    this.shown = phase;
    if (phase === "in") {
      this.showChat();
    } else {
      this.talk = undefined;
      this.drafts.clear();
      this.items.clear();
      document.title = "SIMP chat";
      this.showGate(before === "in");
    }
  }

  takeCode() {
    const code = /^#join=([\w-]+)$/.exec(location.hash)?.[1];
    if (!code) return false;
    this.code = code;
    history.replaceState(null, "", location.pathname);
    if (this.shown === "in") this.tell("You are signed in. Sign out to use the invitation.");
    else if (this.shown) this.showGate(false);
    return true;
  }

  showJoin() {
    const address = h("input", { name: "address", type: "text", inputmode: "email", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true, value: this.lastAddress });
    const [first, second] = [0, 1].map(() => h("input", { type: "password", autocomplete: "new-password", required: true }));
    const problem = h("p.problem", { role: "alert" }), create = h("button.primary", { type: "submit" }, "Create account");
    const form = h("form", { "aria-label": "Create account", submit: async event => {
      event.preventDefault();
      this.lastAddress = address.value.trim();
      const at = canonical(this.lastAddress, this.lastAddress);
      put(problem);
      if (!at || !this.lastAddress.includes("@")) return put(problem, "The address must look like alice@example.com.");
      if (first.value !== second.value) return put(problem, "The two passwords differ.");
      create.disabled = true;
      try {
        const me = await join({ url: socketURL(), address: at, password: first.value, code: this.code, agent: "simpd web chat" });
        this.code = "";
        this.lastAddress = me;
        this.act("signIn", { address: me, password: first.value });
      } catch (err) {
        put(problem, joinError(err));
        create.disabled = false;
      }
    } }, field("Address", address), field("Password", first), field("Password again", second), create);
    put(app, h("main.gate", {}, h("h1", {}, "SIMP chat"), h("p", {}, "You are invited: choose an address and a password."), form, problem,
      h("button", { type: "button", click: () => { this.code = ""; this.showGate(false); } }, "I have an account")));
    address.focus();
  }

  /** @param {boolean} left */
  showGate(left) {
    const { phase, error } = this.model, busy = phase === "entering";
    if (phase === "starting") return;
    if (this.code && !busy) return this.showJoin();
    const address = h("input", { name: "address", type: "text", inputmode: "email", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true, disabled: busy, value: this.model.me || this.lastAddress, change: () => void offer() });
    const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, disabled: busy });
    const secret = field("Password", password), other = h("button", { type: "button", hidden: true, click: () => change(!byToken) });
    let byToken = false;
    const change = (/** @type {boolean} */ to) => {
      byToken = to;
      setText(/** @type {Element} */ (secret.firstElementChild), to ? "Access token of your organization" : "Password");
      setText(other, to ? "Sign in with a password" : "Sign in with a token");
      password.autocomplete = to ? "off" : "current-password";
    };
    const offer = async () => {
      const at = canonical(address.value, address.value), offered = at && address.value.includes("@") ? await mechanisms({ url: socketURL(), address: at }).catch(() => []) : [];
      other.hidden = !offered.includes("OAUTHBEARER");
      change(!other.hidden && (byToken || offered.length === 1));
    };
    const form = h("form", { "aria-label": "Sign in", submit: event => {
      event.preventDefault();
      this.lastAddress = address.value.trim();
      const at = this.lastAddress.lastIndexOf("@");
      if (at < 1) return put(problem, "The address must look like alice@example.com.");
      this.act("signIn", { address: canonical(this.lastAddress, this.lastAddress), [byToken ? "token" : "password"]: password.value });
    } }, field("Address", address), secret, h("button.primary", { type: "submit", disabled: busy }, busy ? "Signing in\u2026" : "Sign in"), other);
    const problem = h("p.problem", { role: "alert" });
    put(app, h("main.gate", {}, h("h1", {}, "SIMP chat"), h("p", {}, "Messages that arrive at once, or tell you that they have not."), form, problem));
    if (error) setTimeout(() => put(problem, error));
    if (address.value && !busy) void offer();
    if (!busy) (address.value && !left ? password : address).focus();
  }

  lastAddress = "";

  showChat() {
    put(app, h("div.chat", {},
      h("header.top", {},
        this.heading,
        h("div.presence", {}, this.state, this.note),
        h("div.buttons", {}, h("button", { type: "button", click: () => showSettings(this) }, "Settings"),
          h("button", { type: "button", click: () => this.act("signOut") }, "Sign out"))),
      this.line, this.notice,
      h("nav.side", { "aria-label": "People" },
        h("div.buttons", {}, h("button", { type: "button", click: () => showAdd(this) }, "Add contact"),
          h("button", { type: "button", click: () => showSeveral(this) }, "Write to several")),
        this.nobody, this.list),
      this.main));
    this.notice.hidden = true;
    this.showNobody();
    this.showHead();
    this.showList();
    this.heading.focus();
    this.openHash();
  }

  showHead() {
    const { me, online, stale, listening, state, note } = this.model;
    setText(this.own, cleanLine(me));
    const why = !online ? "Not connected. Connecting again\u2026" : stale ? "The server cannot reach the rest of its site: presence is not known now." : listening ? "" : "You are not listening: no message reaches you here.";
    if (why && why !== this.line.textContent) announce(why);
    setText(this.line, why);
    this.line.hidden = !why;
    this.state.value = listening ? state : "deaf";
    if (document.activeElement !== this.note) this.note.value = note;
  }

  async setState() {
    await this.call("setState", { state: this.state.value, note: this.note.value }).catch(() => this.showHead());
  }

  showListSoon() {
    this.listTimer ??= setTimeout(() => {
      this.listTimer = undefined;
      if (this.shown === "in") this.showList();
    }, 20);
  }

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  listTimer = undefined;

  showList() {
    const { contacts, conversations } = this.model;
    const last = (/** @type {string} */ key) => conversations[key]?.messages.at(-1)?.time ?? 0;
    const keys = [...new Set([...Object.keys(contacts), ...Object.keys(conversations)])].sort((a, b) => last(b) - last(a) || (a < b ? -1 : 1));
    for (const [key, item] of this.items) if (!keys.includes(key)) { item.remove(); this.items.delete(key); }
    keys.forEach((key, i) => {
      let item = this.items.get(key);
      if (!item) this.items.set(key, item = h("li", {}, h("button", { type: "button", click: () => this.openKey(key, true) },
        h("bdi.name"), h("span.state"), h("span.count"))));
      this.showItem(key, item);
      if (this.list.children[i] !== item) this.list.insertBefore(item, this.list.children[i] ?? null);
    });
    this.nobody.hidden = keys.length > 0;
    const unread = Object.values(conversations).reduce((sum, c) => sum + c.unread, 0);
    document.title = unread ? `(${unread}) SIMP chat` : "SIMP chat";
  }

  /** @param {string} key @param {HTMLLIElement} item */
  showItem(key, item) {
    const to = key.split(" "), unread = this.model.conversations[key]?.unread ?? 0;
    const names = to.map(one => cleanLine(this.model.contacts[one] || one)).join(", "), addresses = to.map(cleanLine).join(", ");
    const state = to.length > 1 ? `${to.length} recipients` : stateWord(stateOf(this.model, key));
    const [button] = item.children, [name, place, count] = button.children;
    item.setAttribute("aria-label", `${names === addresses ? "" : `${names}, `}${addresses}, ${state}, ${unread} unread`);
    button.setAttribute("title", addresses);
    button.setAttribute("aria-current", String(key === this.talk?.key));
    setText(name, names);
    setText(place, state);
    place.setAttribute("data-state", to.length > 1 ? "" : stateOf(this.model, key));
    setText(count, unread ? `${unread} unread` : "");
  }

  /** @param {KeyboardEvent} event */
  onArrow(event) {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    const buttons = [...this.list.querySelectorAll("button")], at = buttons.indexOf(/** @type {any} */ (document.activeElement));
    if (!step || at < 0) return;
    event.preventDefault();
    buttons[Math.min(buttons.length - 1, Math.max(0, at + step))].focus();
  }

  openHash() {
    const { hash } = location;
    if (hash) history.replaceState(null, "", location.pathname);
    this.openKey(keyOfHash(this.model, hash), true);
  }

  showNobody() {
    document.body.classList.remove("talking");
    this.talk = undefined;
    put(this.main, h("p.empty", {}, "Choose somebody to write to."));
  }

  /** @param {string | undefined} key @param {boolean} [focus] */
  openKey(key, focus = false) {
    if (key === undefined) return;
    if (this.talk && this.box) this.drafts.set(this.talk.key, this.box.value);
    const conversation = this.model.conversations[key] ??= { to: key.split(" "), messages: [], unread: 0 };
    const talk = this.talk = new Talk(key, conversation, this.act, () => this.model.waiting, () => this.compare());
    const several = talk.names.length > 1;
    this.partner = h("span.state");
    this.blocking = h("button", { type: "button", click: () => this.block() });
    this.knowing = h("button", { type: "button", click: () => this.act(this.knows() ? "removeContact" : "addContact", { address: key }) });
    const box = this.box = h("textarea", { "aria-label": "Message", rows: 2, placeholder: "Message", dir: "auto", keydown: event => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); void this.send(); }
    } });
    box.value = this.drafts.get(key) ?? "";
    put(this.main,
      h("header", {}, h("button.back", { type: "button", click: () => this.goBack() }, "Back"),
        h("div.partner", {}, h("h2", {}, h("bdi", {}, talk.names.join(", "))), this.partner),
        !several && h("div.buttons", {}, h("button", { type: "button", click: () => this.compare() }, "Keys"), this.knowing, this.blocking,
          h("button", { type: "button", click: () => showReport(this, talk.conversation) }, "Report"))),
      talk.log,
      h("form.write", { "aria-label": "Write", submit: event => { event.preventDefault(); void this.send(); } }, box, h("button.primary", { type: "submit" }, "Send")));
    document.body.classList.add("talking");
    this.showPartner();
    talk.open();
    this.showListSoon();
    this.readIfSeen();
    if (focus) box.focus();
  }

  compare() { if (this.talk) void showKeys(this, this.talk.key).catch(() => {}); }

  goBack() {
    const item = this.items.get(this.talk?.key ?? "");
    if (this.talk && this.box) this.drafts.set(this.talk.key, this.box.value);
    this.showNobody();
    this.showList();
    item?.querySelector("button")?.focus();
  }

  knows() { return this.talk !== undefined && this.model.contacts[this.talk.key] !== undefined; }

  showPartner() {
    const { talk, partner, blocking, knowing } = this;
    if (!talk || !partner || !blocking || !knowing) return;
    const state = stateOf(this.model, talk.key), note = listens(state) ? cleanLine(this.model.presence[talk.key]?.note ?? "") : "";
    setText(partner, talk.conversation.to.length > 1 ? "each gets the message alone" : note ? `${stateWord(state)}, ${note}` : stateWord(state));
    partner.setAttribute("data-state", talk.conversation.to.length > 1 ? "" : state);
    setText(blocking, this.model.blocked.includes(talk.key) ? "Unblock" : "Block");
    setText(knowing, this.knows() ? "Remove contact" : "Keep as contact");
  }

  async send() {
    const { box, talk } = this;
    const text = box?.value.trimEnd();
    if (!box || !talk || !text) return;
    box.value = "";
    await this.call("send", { to: talk.conversation.to, text }).catch(() => { box.value ||= text; });
  }

  block() {
    const address = this.talk?.key ?? "";
    if (this.model.blocked.includes(address)) return this.act("block", { address, on: false });
    confirmBlock(address, () => this.act("block", { address, on: true }));
  }

  /** @param {Extract<Event, { t: "message" }>} event */
  onMessage({ key, m }) {
    const item = this.items.get(key);
    if (item) this.showItem(key, item);
    else this.showList();
    this.showListSoon();
    if (key !== this.talk?.key) return m.mine || m.notice ? undefined : announce(`Message from ${cleanLine(m.from)}`);
    this.talk.conversation = this.model.conversations[key];
    if (!m.mine && !this.sees()) this.talk.mark();
    this.talk.append();
    this.readIfSeen();
  }

  /** @param {Extract<Event, { t: "outcome" }>} event */
  onOutcome({ key, id, results }) {
    for (const r of results) if (r.status) announce(sentence(r));
    const m = this.talk?.key === key && findMessage(this.model, key, id);
    if (m) this.talk?.showOutcome(m);
  }

  sees() { return document.visibilityState === "visible" && document.hasFocus(); }

  readIfSeen() {
    const key = this.talk?.key;
    if (key !== undefined && this.sees() && this.model.conversations[key]?.unread) void this.tabs.call("read", { key }).catch(() => {});
  }

  onVisible() {
    if (document.visibilityState !== "visible") return;
    this.tabs.engine?.client?.wake();
    this.readIfSeen();
  }
}

/** @param {any} error */
function joinError(error) {
  switch (error?.status) {
    case 405: return "This server knows no invitations.";
    case 429: return "There were too many attempts. Try again in a minute.";
    case 400: case 401: case 403: case 409: case 503: return cleanLine(error.message);
  }
  return "It is not known whether the account was created. Try to sign in with it; if that fails, open the invitation again.";
}

if (window.isSecureContext && navigator.locks && crypto.subtle) new Page();
else put(app, h("main.gate", {}, h("h1", {}, "SIMP chat"), h("p.problem", { role: "alert" }, "This page was not loaded over a secure connection, so it cannot sign you in. Open it by https.")));
