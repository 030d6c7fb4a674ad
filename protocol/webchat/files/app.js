// @ts-check
// The page.
import { join, stateWord } from "./simp.js";
import { findMessage, keyOfHash, listens, stateOf } from "./model.js";
import { confirmBlock, showAdd, showSettings, showSeveral } from "./dialogs.js";
import { Tabs } from "./tabs.js";
import { Talk, sentence } from "./talk.js";
import { canonical, cleanLine } from "./text.js";
import { field, h, put, setText } from "./view.js";

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
const said = /** @type {HTMLElement} */ (document.getElementById("said"));

/** announce says something to those who hear the page. @param {string} text */
function announce(text) {
  said.append(h("p", {}, text));
  while (said.childElementCount > 20) said.firstElementChild?.remove();
}

/** Page is what this tab shows. */
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
    /** act is call for what needs no result; what fails has been told. */
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

  /** tell shows a sentence until the next, and says it. @param {string} text */
  tell(text) {
    put(this.notice, h("span", {}, text), h("button", { type: "button", click: () => { this.notice.hidden = true; } }, "Dismiss"));
    this.notice.hidden = false;
    announce(text);
  }

  /** show brings the page up to date after an event. @param {import("./model.js").Event | { t: "all" }} event */
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

  /** @param {import("./model.js").Model["phase"]} phase */
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

  /** takeCode reports whether the fragment is that of an invitation, whose code it takes and hides. */
  takeCode() {
    const code = /^#join=([\w-]+)$/.exec(location.hash)?.[1];
    if (!code) return false;
    this.code = code;
    history.replaceState(null, "", location.pathname);
    if (this.shown === "in") this.tell("You are signed in. Sign out to use the invitation.");
    else if (this.shown) this.showGate(false);
    return true;
  }

  /** showJoin shows the form to create an account. */
  showJoin() {
    const address = h("input", { name: "address", type: "text", inputmode: "email", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true, value: this.lastAddress });
    const [first, second] = [0, 1].map(() => h("input", { type: "password", autocomplete: "new-password", required: true }));
    const problem = h("p.problem", { role: "alert" }), create = h("button.primary", { type: "submit" }, "Create account");
    const form = h("form", { "aria-label": "Create account", submit: async event => {
      event.preventDefault();
      this.lastAddress = address.value.trim();
      const at = canonical(this.lastAddress, this.lastAddress), url = new URL("/simp", location.href);
      put(problem);
      if (!at || !this.lastAddress.includes("@")) return put(problem, "The address must look like alice@example.com.");
      if (first.value !== second.value) return put(problem, "The two passwords differ.");
      url.protocol = url.protocol.replace("http", "ws");
      create.disabled = true;
      try {
        const me = await join({ url: url.href, address: at, password: first.value, code: this.code, agent: "simpd web chat" });
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

  /** showGate shows the form to sign in, or that somebody is being signed in. @param {boolean} left */
  showGate(left) {
    const { phase, error } = this.model, busy = phase === "entering";
    if (phase === "starting") return;
    if (this.code && !busy) return this.showJoin();
    const address = h("input", { name: "address", type: "text", inputmode: "email", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true, disabled: busy, value: this.model.me || this.lastAddress });
    const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, disabled: busy });
    const form = h("form", { "aria-label": "Sign in", submit: event => {
      event.preventDefault();
      this.lastAddress = address.value.trim();
      const at = this.lastAddress.lastIndexOf("@");
      if (at < 1) return put(problem, "The address must look like alice@example.com.");
      this.act("signIn", { address: canonical(this.lastAddress, this.lastAddress), password: password.value });
    } }, field("Address", address), field("Password", password), h("button.primary", { type: "submit", disabled: busy }, busy ? "Signing in\u2026" : "Sign in"));
    const problem = h("p.problem", { role: "alert" });
    put(app, h("main.gate", {}, h("h1", {}, "SIMP chat"), h("p", {}, "Messages that arrive at once, or tell you that they have not."), form, problem));
    if (error) setTimeout(() => put(problem, error)); // so that it is announced
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

  // ---- The list of contacts ----

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

  // ---- The open conversation ----

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

  /** openKey opens a conversation. @param {string | undefined} key @param {boolean} [focus] */
  openKey(key, focus = false) {
    if (key === undefined) return;
    if (this.talk && this.box) this.drafts.set(this.talk.key, this.box.value);
    const conversation = this.model.conversations[key] ??= { to: key.split(" "), messages: [], unread: 0 };
    const talk = this.talk = new Talk(key, conversation, this.act, () => this.model.waiting);
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
        !several && h("div.buttons", {}, this.knowing, this.blocking)),
      talk.log,
      h("form.write", { "aria-label": "Write", submit: event => { event.preventDefault(); void this.send(); } }, box, h("button.primary", { type: "submit" }, "Send")));
    document.body.classList.add("talking");
    this.showPartner();
    talk.open();
    this.showListSoon();
    this.readIfSeen();
    if (focus) box.focus();
  }

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

  /** @param {Extract<import("./model.js").Event, { t: "message" }>} event */
  onMessage({ key, m }) {
    const item = this.items.get(key);
    if (item) this.showItem(key, item); // at once: it will be acknowledged
    else this.showList();
    this.showListSoon();
    if (key !== this.talk?.key) return m.mine ? undefined : announce(`Message from ${cleanLine(m.from)}`);
    this.talk.conversation = this.model.conversations[key];
    if (!m.mine && !this.sees()) this.talk.mark();
    this.talk.append();
    this.readIfSeen();
  }

  /** @param {Extract<import("./model.js").Event, { t: "outcome" }>} event */
  onOutcome({ key, id, results }) {
    for (const r of results) if (r.status) announce(sentence(r));
    const m = this.talk?.key === key && findMessage(this.model, key, id);
    if (m) this.talk?.showOutcome(m);
  }

  /** sees reports whether the user looks at this page. */
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

/** joinError returns what to tell of an account that was not created. @param {any} error */
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
