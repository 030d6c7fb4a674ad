// @ts-check
// The one connection of this browser, and what the tabs ask of it.
import { Client, SimpError, entityText, entityType, newID, stateWord, textEntity } from "./simp.js";
import { apply, findMessage, keyOf, listens } from "./model.js";
import * as keep from "./keep.js";
import { clean, cleanLine } from "./text.js";

/** @typedef {import("./model.js").Model} Model */
/** @typedef {{ address: string, password?: string, keys?: import("./simp.js").Keys } | undefined} Secrets */

// One node of several may be going away while somebody signs in.
const mostAttempts = 3, mostLoaded = 10_000, repeatTime = 5 * 60_000;

/** Engine runs in the tab that holds the connection. */
export class Engine {
  /**
   * @param {Model} model
   * @param {Secrets} secrets
   * @param {(event: import("./model.js").Event) => void} emit tells all tabs, this one at once
   * @param {(secrets: Secrets) => void} share tells the other tabs how to go on
   */
  constructor(model, secrets, emit, share) {
    this.model = model;
    this.secrets = secrets;
    this.emit = (/** @type {import("./model.js").Event} */ event) => { apply(model, event); emit(event); };
    this.share = share;
    /** @type {Client | undefined} */
    this.client = undefined;
    this.attempts = 0;
    /** @type {Promise<void> | undefined} */
    this.staying = undefined;
    /** entered resolves once the page shows the conversations, so that messages come after it. */
    this.entered = () => {};
    /** @type {Promise<void>} */
    this.shown = model.phase === "in" ? Promise.resolve() : this.awaitEntry();
  }

  awaitEntry() { return new Promise(resolve => { this.entered = () => resolve(undefined); }); }

  /** @param {Partial<Model>} values */
  set(values) { this.emit({ t: "set", values }); }

  /** begin goes on with another tab's session, or signs in if this browser stays signed in. */
  async begin() {
    for (const [key, c] of Object.entries(this.model.conversations)) {
      for (const m of c.messages) if (m.results.some(r => !r.status)) this.settle(key, m.id, m.results.map(doubt));
    }
    this.set({ prefs: await keep.load("prefs").catch(() => undefined) ?? this.model.prefs });
    if (this.model.phase === "in" && this.secrets) return this.connect();
    this.secrets = await keep.load("stay").catch(() => undefined);
    if (!this.secrets) return this.set({ phase: "out", me: "" });
    this.set({ phase: "entering", me: this.secrets.address, stay: "yes" });
    this.connect();
  }

  /** @param {{ address: string, password: string }} login */
  signIn({ address, password }) {
    if (this.model.phase === "entering" || this.model.phase === "in") return;
    void this.client?.stop();
    this.secrets = { address, password };
    this.attempts = 0;
    this.shown = this.awaitEntry();
    this.set({ phase: "entering", me: address, error: "", stay: "no", contacts: {}, presence: {}, conversations: {} });
    this.connect();
  }

  connect() {
    const { me, state, note, listening } = this.model;
    const url = new URL("/simp", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    /** @type {<A extends any[], R>(handle: (...args: A) => R) => (...args: A) => R | undefined} what a client says after its end is nobody's */
    const ifCurrent = handle => (...args) => this.client === client ? handle(...args) : undefined;
    /** @type {Client} */
    const client = this.client = new Client({
      url: url.href, address: me, password: this.secrets?.password, keys: this.secrets?.keys, agent: "simpd web chat", state, note, listening,
      handlers: {
        status: ifCurrent((status, error) => void this.onStatus(client, status, error)),
        message: m => this.onMessage(client, m),
        presence: ifCurrent(p => this.onPresence(p)),
        stale: ifCurrent(() => this.set({ stale: true })),
        fresh: ifCurrent(() => this.set({ stale: false })),
        unlistened: ifCurrent(why => { this.set({ listening: false }); this.notice(`You are not listening any more: ${why}`); }),
        keys: ifCurrent(keys => {
          this.secrets = { address: me, keys };
          this.share(this.secrets);
        }),
      },
    });
    this.watchAll();
    this.client.start();
  }

  /** @param {Client} client @param {import("./simp.js").ClientStatus} status @param {SimpError} [error] */
  async onStatus(client, status, error) {
    if (status === "ended" && error) {
      if (error.status === 401) await keep.save("stay", undefined).catch(() => {});
      return this.leave(signInError(error));
    }
    if (status === "waiting" && this.model.phase === "entering" && this.model.stay !== "yes" && ++this.attempts === mostAttempts) {
      this.leave(signInError(error));
      return void client.stop();
    }
    if (status !== "online") return this.model.online ? this.set({ online: false, stale: false }) : undefined;
    const first = this.model.phase === "entering";
    this.set({ online: true, phase: "in", error: "", me: client.address });
    if (first && this.model.prefs.history) {
      const list = await keep.loadMessages(this.model.me, mostLoaded).catch(() => []);
      if (client !== this.client) return;
      for (const { m } of list) m.results = m.results.map(doubt);
      this.emit({ t: "load", list });
    }
    this.entered();
    await this.refresh().catch(() => {});
  }

  /** refresh reads the lists that the site keeps for the user. */
  async refresh() {
    if (!this.client) return;
    const contacts = Object.fromEntries((await this.client.contacts()).map(c => [c.address, c.name]));
    this.set({ contacts });
    await this.watchAll();
    const rules = await this.client.rules();
    this.set({ blocked: rules.filter(r => r.message === "deny" && r.who.includes("@") && !r.who.startsWith("@")).map(r => r.who) });
    if (this.model.stay === "no" && await this.client.request("APP").then(() => true, () => false)) this.set({ stay: "offered" });
  }

  async watchAll() {
    const partners = Object.values(this.model.conversations).filter(c => c.messages.some(m => m.mine)).flatMap(c => c.to);
    await this.client?.watch([...new Set([...Object.keys(this.model.contacts), ...this.model.waiting, ...partners])]).catch(() => {});
  }

  /** @param {Client} client @param {import("./simp.js").Message} m */
  async onMessage(client, { from, id, time, entity }) {
    await this.shown;
    if (client !== this.client) return 486; // nobody sees it
    const text = entityText(entity) ?? `(${entityType(entity)}, ${entity.length} octets: this page shows plain text only)`;
    const key = keyOf([from]), at = Date.parse(time) || Date.now();
    const known = this.model.conversations[key]?.messages.slice(-200).some(m => m.id === id && m.from === from && m.text === text && Date.now() - m.time < repeatTime);
    if (known) return 200;
    const m = { id, from, mine: false, text, time: at, results: [] };
    this.emit({ t: "message", key, to: [from], m });
    this.notifyLater(key, from, text);
    await this.keep(key, [from], m);
    return 200;
  }

  /** @param {string} key @param {string[]} to @param {import("./model.js").Message} m */
  async keep(key, to, m) {
    if (!this.model.prefs.history) return;
    try {
      await keep.keepMessage(this.model.me, { key, to, m });
    } catch {
      await this.setPrefs({ history: false }).catch(() => {}); // it holds for this session
      this.notice("This browser cannot keep more messages: history is off now.");
    }
  }

  /** @param {string} key @param {string} from @param {string} text */
  notifyLater(key, from, text) {
    if (!this.model.prefs.notify) return;
    setTimeout(() => { if (this.model.conversations[key]?.unread) this.notify(`Message from ${from}`, text, key); }, 300);
  }

  /** @param {string} title @param {string} body @param {string} tag */
  notify(title, body, tag) {
    if (!this.model.prefs.notify || Notification.permission !== "granted") return;
    const shown = new Notification(cleanLine(title), { body: clean(body.slice(0, 200)), tag });
    shown.onclick = () => { window.focus(); location.hash = encodeURIComponent(tag); shown.close(); };
  }

  /** @param {string} text */
  notice(text) { this.emit({ t: "notice", text }); }

  /** @param {import("./simp.js").Presence} p */
  onPresence({ address, state, note }) {
    this.emit({ t: "presence", address, state, note });
    if (!listens(state) || !this.model.waiting.includes(address)) return;
    this.set({ waiting: this.model.waiting.filter(one => one !== address) });
    this.notice(`${address} is ${stateWord(state)}`);
    this.notify(`${address} is ${stateWord(state)}`, "", address);
  }

  /** @param {{ to: string[], text: string }} message */
  async send({ to, text }) {
    const key = keyOf(to), entity = textEntity(text), id = newID();
    if (entity.length > (this.client?.maxSize ?? 0)) throw new SimpError(413, `The message is too long: at most ${this.client?.maxSize} octets are allowed.`);
    const m = { id, from: this.model.me, mine: true, text, time: Date.now(), results: to.map(one => ({ to: one, status: 0, text: "" })) };
    this.emit({ t: "message", key, to, m });
    await this.keep(key, to, m);
    void this.deliver(key, id, to, entity);
    void this.client?.watch(to).catch(() => {});
  }

  /** deliver sends a message and tells what became of it. @param {string} key @param {string} id @param {string[]} to @param {Uint8Array} entity */
  async deliver(key, id, to, entity) {
    const report = await this.client?.send(to, entity, { id });
    const said = new Map(report?.results.map(r => [r.to, r]));
    const m = findMessage(this.model, key, id);
    if (m) this.settle(key, id, m.results.map(r => said.get(r.to) ?? r));
  }

  /** retry repeats a message in doubt under its id; only a 200 ends the doubt. @param {{ key: string, id: string }} which */
  async retry({ key, id }) {
    const m = findMessage(this.model, key, id);
    const to = m?.results.filter(r => r.status === 201).map(r => r.to) ?? [];
    if (!m || !to.length) return;
    this.settle(key, id, m.results.map(r => r.status === 201 ? { ...r, status: 0 } : r));
    const report = await this.client?.send(to, textEntity(m.text), { id });
    const good = new Set(report?.results.filter(r => r.status === 200).map(r => r.to));
    this.settle(key, id, m.results.map(r => good.has(r.to) ? { ...r, status: 200, text: "" } : doubt(r)));
  }

  /** @param {string} key @param {string} id @param {import("./simp.js").Result[]} results */
  settle(key, id, results) {
    const m = findMessage(this.model, key, id);
    if (!m) return; // of somebody who has signed out
    this.emit({ t: "outcome", key, id, results });
    void this.keep(key, this.model.conversations[key].to, m);
  }

  /** tell has the user told when others listen. @param {{ to: string[] }} whom */
  async tell({ to }) {
    this.set({ waiting: [...new Set([...this.model.waiting, ...to])] });
    await this.client?.watch(to);
  }

  /** @param {{ key: string }} which */
  read({ key }) { if (this.model.conversations[key]?.unread) this.emit({ t: "read", key }); }

  /** @param {{ state: import("./simp.js").PresenceState, note: string }} own */
  async setState({ state, note }) {
    if (!listens(state)) {
      await this.client?.unlisten();
      return this.set({ listening: false, note });
    }
    const listening = /** @type {import("./simp.js").ListenState} */ (state);
    await this.client?.setState(listening, note);
    this.set({ listening: true, state: listening, note });
  }

  /** @param {{ address: string, name?: string }} contact */
  async addContact({ address, name }) {
    await this.client?.request("CONTACT", { ima: address, name: name || undefined });
    await this.refresh();
  }

  /** @param {{ address: string }} contact */
  async removeContact({ address }) {
    await this.client?.request("CONTACT", { ima: address, remove: "yes" });
    await this.client?.unwatch([address]);
    this.emit({ t: "presence", address, state: "unknown", note: "" });
    await this.refresh();
  }

  /** @param {{ address: string, on: boolean }} rule */
  async block({ address, on }) {
    await this.client?.request("ACL", on ? { who: address, message: "deny", presence: "deny" } : { who: address });
    await this.refresh();
  }

  async watchers() { return await this.client?.watchers() ?? []; }

  /** @param {Partial<Model["prefs"]>} prefs */
  async setPrefs(prefs) {
    this.set({ prefs: { ...this.model.prefs, ...prefs } });
    await keep.save("prefs", this.model.prefs);
    if (prefs.history) for (const [key, c] of Object.entries(this.model.conversations)) for (const m of c.messages) await this.keep(key, c.to, m);
  }

  deleteHistory() { return keep.deleteMessages(); }

  /** staySignedIn keeps an app password, never the user's own. */
  staySignedIn() {
    return this.staying ??= this.keepAppPassword().finally(() => { this.staying = undefined; });
  }

  async keepAppPassword() {
    const { client } = this;
    if (!client || this.model.stay === "yes") return;
    const { data, id } = (await client.request("APP", { add: "web chat" })).params;
    try {
      await keep.save("stay", { address: this.model.me, password: data, id });
    } catch (err) {
      await client.request("APP", { remove: id }).catch(() => {});
      throw err;
    }
    this.set({ stay: "yes" });
  }

  async signOut() {
    const client = this.client, stay = await keep.load("stay").catch(() => undefined);
    if (stay?.id) await client?.request("APP", { remove: stay.id }).catch(() => {}); // a session that it opened may not
    await keep.save("stay", undefined).catch(() => {});
    this.leave("");
    await client?.stop();
  }

  /** leave forgets the session. @param {string} error */
  leave(error) {
    this.client = this.secrets = undefined;
    this.share(undefined);
    const { prefs } = this.model;
    this.set({ phase: "out", me: "", error, online: false, stale: false, listening: true, state: "available", note: "", contacts: {}, presence: {}, conversations: {}, blocked: [], waiting: [], stay: "no", prefs });
  }
}

/** doubt returns a result that is not known as one in doubt. @param {import("./simp.js").Result} r */
function doubt(r) { return r.status ? r : { ...r, status: 201 }; }

/** @param {SimpError | undefined} error */
function signInError(error) {
  switch (error?.status) {
    case 401: return "The address or the password is wrong.";
    case 429: return "There were too many attempts. Try again in a minute.";
    case undefined: case 0: case 503: return "The server cannot be reached. Try again.";
  }
  return `The server refuses: ${error?.message}`;
}
