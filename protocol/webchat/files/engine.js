// @ts-check
// The part of the web chat that has no page. DESIGN.md describes it.
import { Client, SimpError, checkSignature, classify, entityText, entityType, fingerprint, foldAddress, fromBase64URL, newDevice, newID, outcomeWord, proveContinuity, sign, stateWord, textEntity, toBase64, toBase64URL, verifyList } from "./simp.js";
/** @import { Contact, Event, Kept, Mark, Message, Model, Secrets, ShownKey } from "../types.js" */
/** @import { ClientStatus, Device, KeyList, ListenState, Message as SimpMessage, Params, Presence, PresenceState, Result } from "./simp.js" */

// ---- Text: what people wrote, made safe to show, and times in words ----

const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** @param {string} text */
export function clean(text) {
  return text.replace(/\r\n?/g, "\n").replace(hidden, show);
}

const invisible = /[\u00ad\u034f\u115f\u1160\u180e\u200b\u2800\u3164]/g;

/** @param {string} c */
function show(c) { return `\u27e8U+${c.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}\u27e9`; }

/** @param {string} text */
export function cleanLine(text) { return clean(text).replace(/[\n\t]/g, " ").replace(invisible, show); }

/** @param {string} text @returns {{ text: string, link: boolean }[]} */
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

/** @param {string} domain */
function hostOf(domain) {
  if (/^[\0-\x7f]*$/.test(domain)) return domain.toLowerCase();
  return URL.canParse(`http://${domain}`) && !/[/?#\\:@%]/.test(domain) ? new URL(`http://${domain}`).hostname : "";
}

/** @param {string} typed @param {string} me */
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

/** @param {number} time */
export function timeOf(time) { return clock.format(time); }

/** @param {number} time */
export function dayOf(time) { return date.format(time); }

/** @param {Mark} mark */
export function markWord({ state, print, verified }) {
  return state === "new key" ? `signed with a new key, ${print}` : state === "bad" ? "bad signature" : state === "signed" && verified ? "signed, verified" : state;
}

/** @param {number} status */
export function wordOf(status) { return status === 0 ? "sending" : outcomeWord(status); }

/** @param {Result} r */
export function sentence(r) {
  const to = cleanLine(r.to), word = wordOf(r.status);
  if (r.status === 200) return `delivered to ${to}`;
  if (r.status === 201) return `in doubt, ${to}`;
  return word === "not delivered" ? `not delivered to ${to}` : `not delivered to ${to}: ${word}`;
}

export function socketURL() { return new URL("/simp", location.href).href.replace("http", "ws"); }

// ---- Model: what the page knows, in all tabs, and the events that change it ----

/** @returns {Model} */
export function newModel() {
  return {
    phase: "starting", error: "", me: "", online: false, stale: false, listening: true, state: "available", note: "", contacts: {}, presence: {},
    conversations: {}, blocked: [], waiting: [], prefs: { history: false, notify: false }, stay: "no",
  };
}

/** @param {string[]} to */
export function keyOf(to) { return [...new Set(to)].sort().join(" "); }

/** @param {Model} model @param {string} hash */
export function keyOfHash(model, hash) {
  try {
    const key = decodeURIComponent(hash.slice(1));
    return Object.hasOwn(model.conversations, key) || Object.hasOwn(model.contacts, key) ? key : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Model} model @param {string} key @param {string[]} to */
function conversation(model, key, to) { return model.conversations[key] ??= { to, messages: [], unread: 0 }; }

/** @param {Model} model @param {Event} event */
export function apply(model, event) {
  switch (event.t) {
    case "set":
      Object.assign(model, event.values);
      break;
    case "presence":
      model.presence[event.address] = { state: event.state, note: event.note };
      break;
    case "message": {
      const c = conversation(model, event.key, event.to);
      c.messages.push(event.m);
      if (!event.m.mine && !event.m.notice) c.unread++;
      break;
    }
    case "outcome": {
      const m = findMessage(model, event.key, event.id);
      if (m) m.results = event.results;
      break;
    }
    case "read":
      if (model.conversations[event.key]) model.conversations[event.key].unread = 0;
      break;
    case "load":
      for (const { key, to, m } of event.list) conversation(model, key, to).messages.push(m);
      break;
  }
}

/** @param {Model} model @param {string} key @param {string} id */
export function findMessage(model, key, id) {
  return model.conversations[key]?.messages.findLast(m => m.mine && m.id === id);
}

/** @param {Model} model @param {string} address */
export function stateOf(model, address) {
  return model.online && !model.stale ? model.presence[address]?.state ?? "unknown" : "unknown";
}

/** @param {PresenceState} state */
export function listens(state) { return state === "available" || state === "away" || state === "busy"; }

// ---- What stays in this browser, in IndexedDB ----

/** @type {Promise<IDBDatabase> | undefined} */
let database;

function openDatabase() {
  return database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("simp", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("settings");
      request.result.createObjectStore("messages", { keyPath: ["me", "key", "m.from", "m.id"] }).createIndex("time", ["me", "m.time"]);
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @template T @param {"settings" | "messages"} name @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} act @returns {Promise<T>} */
async function run(name, mode, act) {
  const transaction = (await openDatabase()).transaction(name, mode, { durability: mode === "readwrite" ? "strict" : "default" });
  const request = act(transaction.objectStore(name));
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error);
  });
}

/** @param {string} key */
export function load(key) { return run("settings", "readonly", store => store.get(key)); }

/** @param {string} key @param {unknown} value */
export function save(key, value) {
  return run("settings", "readwrite", store => /** @type {IDBRequest<unknown>} */ (value === undefined ? store.delete(key) : store.put(value, key)));
}

/** @param {string} me @param {Kept} kept */
export function keepMessage(me, kept) { return run("messages", "readwrite", store => store.put({ me, ...kept })); }

export function deleteMessages() { return run("messages", "readwrite", store => store.clear()); }

/** @param {string} me @param {number} most @returns {Promise<Kept[]>} */
export async function loadMessages(me, most) {
  /** @type {Kept[]} */
  const list = [];
  await run("messages", "readonly", store => {
    const request = store.index("time").openCursor(IDBKeyRange.bound([me], [me, []]), "prev");
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || list.length >= most) return;
      list.push(cursor.value);
      cursor.continue();
    };
    return request;
  });
  return list.reverse();
}

// ---- Trust: the key of this browser, and what is remembered of the keys of others ----

const patience = 3000, codePrefix = "key:";

export class Trust {
  /** @param {Client} client @param {(text: string) => void} notice */
  constructor(client, notice) {
    this.client = client;
    this.notice = notice;
    /** @type {Device | undefined} */
    this.device = undefined;
    this.told = "";
    this.head = "";
    /** @type {Promise<unknown>} */
    this.changing = Promise.resolve();
    this.received = 0;
    /** @type {Map<string, { list: KeyList | undefined, covers: number, fresh: boolean }>} */
    this.lists = new Map();
    /** @type {Map<string, number>} */
    this.resting = new Map();
    /** @type {Map<string, Promise<Contact>>} */
    this.contacts = new Map();
    this.ready = Promise.resolve();
  }

  get me() { return foldAddress(this.client.address); }

  /** @param {...string} of */
  place(...of) { return [...of, this.me, location.protocol === "https:" ? "" : this.client.history].join(" "); }

  begin() { return this.ready = this.findDevice().catch(err => this.tell(err)); }

  async findDevice() {
    const { keys } = await this.fetchOwn(), device = await this.load(), mine = keys.find(k => k.kid === device?.kid);
    this.device = mine && !mine.revocation ? device : undefined;
    if (this.device) return;
    if (mine) throw new Error("the key of this browser was revoked");
    if (keys.some(k => !k.revocation)) throw new Error("other devices of yours have keys, and this browser has none; see Settings");
    await this.addKey({ name: "web chat" });
  }

  /** @param {any} err */
  async tell(err) {
    const why = err.status === 403 ? "an app password may not add a key; sign in with your own password once" : err.name === "NotSupportedError" ? "this browser lacks Ed25519, and cannot verify signatures either" : err.message;
    if (err.status === 405 || await load(this.place("told")).catch(() => this.told) === why) return;
    this.told = why;
    this.notice(`Your messages are not signed: ${why}.`);
    await save(this.place("told"), why).catch(() => {});
  }

  /** @returns {Promise<Device | undefined>} */
  load() { return load(this.place("device")); }

  async make() {
    let device = await this.load();
    if (!device) await save(this.place("device"), device = await newDevice());
    return device;
  }

  /** @param {{ name: string }} how */
  async addKey({ name }) {
    const device = await this.make();
    await this.change({ add: toBase64(device.key), name: name || undefined });
    this.device = device;
    await save(this.place("told"), "").catch(() => {});
  }

  /** @param {{ code: string, name: string }} how */
  async vouch({ code, name }) {
    const { device } = this;
    if (!device) throw new Error("This browser has no key that could vouch.");
    let key;
    try {
      key = fromBase64URL(code.trim().replace(codePrefix, ""));
    } catch {
      throw new Error("The code is not what the new device shows.");
    }
    await this.change({ add: toBase64(key), name: name || undefined, by: device.kid, sig: await proveContinuity(device, this.me, key, name) });
  }

  /** @param {{ kid: string }} which */
  revokeKey({ kid }) { return this.change({ revoke: kid }); }

  /** @param {Params} params */
  async change(params) {
    const change = this.client.request("KEY", params);
    this.changing = change.then(() => this.fetchOwn()).catch(() => {});
    await change;
  }

  async fetchOwn() {
    const list = await this.fetch(this.me);
    this.head = list.heads[list.heads.length - 1];
    return list;
  }

  /** @param {string} user @param {boolean} [fresh] */
  async fetch(user, fresh = true) {
    const answer = await this.client.request("KEYS", { ima: user, fresh: fresh ? "yes" : undefined }), had = this.lists.get(user)?.list;
    return had?.heads.at(-1) === answer.params.head ? had : verifyList(user, answer);
  }

  /** @param {string} user */
  contact(user) {
    let known = this.contacts.get(user);
    if (!known) this.contacts.set(user, known = load(this.place("keys", user)).then(kept => kept ?? { kids: [], verified: [], head: "" }));
    return known;
  }

  /** @param {string} user @param {string} head @param {string} [kid] @param {boolean} [verified] */
  async remember(user, head, kid, verified) {
    const known = await this.contact(user), before = JSON.stringify(known);
    if (head) known.head = head;
    if (kid) known.kids = [...new Set([...known.kids, kid])];
    if (kid && verified) known.verified = [...new Set([...known.verified, kid])];
    if (JSON.stringify(known) !== before) await save(this.place("keys", user), known);
  }

  /** @param {string} user @param {string} head */
  async seeHead(user, head) { if ((await this.contact(user)).kids.length) await this.remember(user, head); }

  /** @param {string} user @param {number} arrived @param {boolean} [fresh] */
  async listFor(user, arrived, fresh = false) {
    const had = this.lists.get(user), domain = user.slice(user.lastIndexOf("@")), start = Date.now(), end = start + patience;
    if (had && had.covers >= arrived && (had.fresh || !fresh)) return had;
    if (Date.now() < (this.resting.get(domain) ?? 0)) throw new Error("they could not be fetched a moment ago");
    for (;;) {
      const covers = this.received;
      /** @type {ReturnType<typeof setTimeout> | undefined} */
      let timer;
      try {
        const late = new Promise((_, reject) => { timer = setTimeout(reject, end - Date.now(), new Error("no answer came in time")); });
        const list = await Promise.race([late, this.fetch(user, fresh).catch(err => { if (err.status !== undefined || err.name === "NotSupportedError") throw err; })]);
        this.lists.set(user, { list, covers, fresh });
        return { list, covers, fresh };
      } catch (err) {
        const { status, params } = /** @type {any} */ (err), pause = 1000 * Math.max(1, Number(params?.retry) || 0);
        if (status !== 429 || Date.now() + pause >= end) {
          this.resting.set(domain, Date.now() + Math.max(500, 3 * (Date.now() - start)));
          throw err;
        }
        await new Promise(resolve => setTimeout(resolve, pause));
      } finally {
        clearTimeout(timer);
      }
    }
  }

  /** @param {SimpMessage} m @param {number} arrived @returns {Promise<Mark>} */
  async verify(m, arrived) {
    const user = foldAddress(m.from), early = checkSignature(m, this.me);
    if (early) return early;
    try {
      const known = await this.contact(user), { list, fresh } = await this.listFor(user, arrived);
      let verdict = await classify(m, this.me, list, known), head = list?.heads.at(-1);
      if (verdict.recheck && !fresh) {
        const newer = (await this.listFor(user, arrived, true)).list;
        verdict = await classify(m, this.me, newer, known);
        head = newer?.heads.at(-1);
      }
      const { state, kid, why } = verdict;
      return { state, why, head, kid, print: kid && fingerprint(kid), verified: kid !== undefined && known.verified.includes(kid) };
    } catch (err) {
      return { state: "not verified", why: `the sender's keys could not be fetched: ${/** @type {Error} */ (err).message}` };
    }
  }

  /** @param {string} from @param {Mark} mark */
  async accept(from, { kid, head }) { if (kid && head) await this.remember(foldAddress(from), head, kid); }

  /** @param {string[]} to @param {string} id @param {number} time @param {Uint8Array} entity */
  async sign(to, id, time, entity) {
    await this.ready;
    return this.device && sign(this.device, { from: this.me, to: to.map(foldAddress), id, time }, entity);
  }

  /** @param {{ address?: string }} [whose] @returns {Promise<{ keys: ShownKey[], own: string, code: string, rewritten: boolean }>} */
  async keysOf({ address = this.me } = {}) {
    const user = foldAddress(address), { keys, heads } = await this.fetch(user), known = await this.contact(user), { kid } = await this.load() ?? {};
    return {
      keys: keys.map(k => ({ kid: k.kid, print: fingerprint(k.kid), name: k.name, mine: k.kid === kid, verified: known.verified.includes(k.kid), vouched: k.signer !== "",
        revoked: k.byOperator ? "revoked by an operator" : k.revocation ? "revoked" : "" })),
      own: this.device ? fingerprint(this.device.kid) : "", rewritten: known.head !== "" && !heads.includes(known.head),
      code: user !== this.me || this.device ? "" : codePrefix + toBase64URL((await this.make()).key),
    };
  }

  /** @param {{ address: string, kid: string }} which */
  async verifyKey({ address, kid }) {
    const user = foldAddress(address), { keys, heads } = await this.fetch(user), { head } = await this.contact(user);
    if (head && !heads.includes(head)) throw new Error("Their server rewrote their list of keys. Ask them by other means.");
    if (!keys.some(k => k.kid === kid && !k.revocation)) throw new Error("The key was revoked meanwhile.");
    await this.remember(user, heads[heads.length - 1], kid, true);
  }

  /** @param {{ address: string }} whose */
  async forgetKeys({ address }) {
    const user = foldAddress(address);
    this.contacts.delete(user);
    await save(this.place("keys", user), undefined);
  }
}

// ---- Engine: the one connection of this browser, and what the tabs ask of it ----

const mostAttempts = 3, mostLoaded = 10_000, repeatTime = 10 * 60_000, retryTime = 5 * 60_000;

export class Engine {
  /** @param {Model} model @param {Secrets} secrets @param {(event: Event) => void} @param {(secrets: Secrets) => void} */
  constructor(model, secrets, emit, share) {
    this.model = model;
    this.secrets = secrets;
    this.emit = (/** @type {Event} */ event) => { apply(model, event); emit(event); };
    this.share = share;
    /** @type {Client | undefined} */
    this.client = undefined;
    /** @type {Trust | undefined} */
    this.trust = undefined;
    /** @type {Promise<any>} */
    this.verifying = Promise.resolve();
    /** @type {Promise<any>} */
    this.signing = Promise.resolve();
    this.attempts = 0;
    /** @type {Promise<void> | undefined} */
    this.staying = undefined;
    this.entered = () => {};
    /** @type {Promise<void>} */
    this.shown = model.phase === "in" ? Promise.resolve() : this.awaitEntry();
  }

  awaitEntry() { return new Promise(resolve => { this.entered = () => resolve(undefined); }); }

  /** @param {Partial<Model>} values */
  set(values) { this.emit({ t: "set", values }); }

  async begin() {
    for (const [key, c] of Object.entries(this.model.conversations)) {
      for (const m of c.messages) if (m.results.some(r => !r.status)) this.settle(key, m.id, m.results.map(doubt));
    }
    this.set({ prefs: await load("prefs").catch(() => undefined) ?? this.model.prefs });
    if (this.model.phase === "in" && this.secrets) return this.connect();
    this.secrets = await load("stay").catch(() => undefined);
    if (!this.secrets) return this.set({ phase: "out", me: "" });
    this.set({ phase: "entering", me: this.secrets.address, stay: "yes" });
    this.connect();
  }

  /** @param {{ address: string, password?: string, token?: string }} login */
  signIn({ address, password, token }) {
    if (this.model.phase === "entering" || this.model.phase === "in") return;
    void this.client?.stop();
    this.secrets = { address, password, token };
    this.attempts = 0;
    this.shown = this.awaitEntry();
    this.set({ phase: "entering", me: address, error: "", stay: "no", contacts: {}, presence: {}, conversations: {} });
    this.connect();
  }

  connect() {
    const { me, state, note, listening } = this.model;
    /** @type {<A extends any[], R>(handle: (...args: A) => R) => (...args: A) => R | undefined} */
    const ifCurrent = handle => (...args) => this.client === client ? handle(...args) : undefined;
    /** @type {Client} */
    const client = this.client = new Client({
      url: socketURL(), ...this.secrets, address: me, agent: "simpd web chat", state, note, listening,
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
        listChange: ifCurrent((address, head) => void this.onKeys(address, head)),
      },
    });
    this.trust = new Trust(client, text => this.notice(text));
    this.watchAll();
    this.client.start();
  }

  /** @param {Client} client @param {ClientStatus} status @param {SimpError} [error] */
  async onStatus(client, status, error) {
    if (status === "ended" && error) {
      if (error.status === 401) await save("stay", undefined).catch(() => {});
      return this.leave(signInError(error, this.secrets?.token));
    }
    if (status === "waiting" && this.model.phase === "entering" && this.model.stay !== "yes" && ++this.attempts === mostAttempts) {
      this.leave(signInError(error, this.secrets?.token));
      return void client.stop();
    }
    if (status !== "online") return this.model.online ? this.set({ online: false, stale: false }) : undefined;
    const first = this.model.phase === "entering";
    this.set({ online: true, phase: "in", error: "", me: client.address });
    if (first && this.model.prefs.history) {
      const list = await loadMessages(this.model.me, mostLoaded).catch(() => []);
      if (client !== this.client) return;
      for (const { m } of list) m.results = m.results.map(doubt);
      this.emit({ t: "load", list });
    }
    this.entered();
    if (this.secrets?.token) this.share(this.secrets);
    if (!this.trust?.device) void this.trust?.begin();
    await this.refresh().catch(() => {});
  }

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

  /** @param {Client} client @param {SimpMessage} m */
  async onMessage(client, m) {
    const { trust } = this;
    await this.shown;
    if (client !== this.client || !trust) return 486;
    const { from, id, time, entity } = m, arrived = ++trust.received;
    const mark = await (this.verifying = this.verifying.then(() => trust.verify(m, arrived)));
    if (client !== this.client) return 486;
    const text = entityText(entity) ?? `(${entityType(entity)}, ${entity.length} octets: this page shows plain text only)`;
    const key = keyOf([from]), at = Date.parse(time) || Date.now();
    const known = this.model.conversations[key]?.messages.slice(-200).some(m => m.id === id && m.from === from && m.text === text && Date.now() - m.time < repeatTime);
    if (known) return 200;
    const shown = { id, from, mine: false, text, time: at, results: [], mark, entity };
    this.emit({ t: "message", key, to: [from], m: shown });
    this.notifyLater(key, from, mark.state === "bad" ? "bad signature" : text);
    await this.keep(key, [from], shown);
    await trust.accept(from, mark).catch(() => {});
    return 200;
  }

  /** @param {string} address @param {string} head */
  async onKeys(address, head) {
    const { trust } = this;
    if (trust && foldAddress(address) === trust.me) {
      await trust.ready;
      await trust.changing;
      const had = trust.device, isKnown = head === trust.head;
      await trust.begin();
      if (trust.device && !had) this.notice("Your messages are signed from now on.");
      else if (!isKnown) this.notice("Your list of keys has changed: see Settings.");
      return;
    }
    await trust?.seeHead(foldAddress(address), head).catch(() => {});
    const m = { id: newID(), from: address, mine: false, text: `The keys of ${address} have changed.`, time: Date.now(), results: [], notice: true };
    if (this.model.conversations[address]) this.emit({ t: "message", key: address, to: [address], m });
  }

  /** @param {string} key @param {string[]} to @param {Message} m */
  async keep(key, to, m) {
    if (!this.model.prefs.history) return;
    try {
      await keepMessage(this.model.me, { key, to, m });
    } catch {
      await this.setPrefs({ history: false }).catch(() => {});
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

  /** @param {Presence} p */
  onPresence({ address, state, note }) {
    this.emit({ t: "presence", address, state, note });
    if (!listens(state) || !this.model.waiting.includes(address)) return;
    this.set({ waiting: this.model.waiting.filter(one => one !== address) });
    this.notice(`${address} is ${stateWord(state)}`);
    this.notify(`${address} is ${stateWord(state)}`, "", address);
  }

  /** @param {{ to: string[], text: string }} message */
  async send({ to, text }) {
    const { trust, client } = this, key = keyOf(to), id = newID(), time = Date.now();
    const field = await (this.signing = this.signing.then(() => this.sign(to, id, time, text))), entity = entityOf(text, field);
    if (entity.length > (client?.maxSize ?? 0)) throw new SimpError(413, `The message is too long: at most ${client?.maxSize} octets are allowed.`);
    /** @type {Message} */
    const m = { id, from: this.model.me, mine: true, text, time, results: to.map(one => ({ to: one, status: 0, text: "" })), field, mark: { state: field ? "signed" : "unsigned" } };
    if (trust !== this.trust) return;
    this.emit({ t: "message", key, to, m });
    await this.keep(key, to, m);
    void this.deliver(key, id, to, entity);
    void client?.watch(to).catch(() => {});
  }

  /** @param {string[]} to @param {string} id @param {number} time @param {string} text */
  async sign(to, id, time, text) {
    const signed = await this.trust?.sign(to, id, time, textEntity(text)).catch(err => void this.notice(`The message is not signed: ${err.message}`));
    return signed && new TextDecoder().decode(signed).split("\r\n", 1)[0];
  }

  /** @param {string} key @param {string} id @param {string[]} to @param {Uint8Array} entity */
  async deliver(key, id, to, entity) {
    const report = await this.client?.send(to, entity, { id });
    const said = new Map(report?.results.map(r => [r.to, r]));
    const m = findMessage(this.model, key, id);
    if (m) this.settle(key, id, m.results.map(r => said.get(r.to) ?? r));
  }

  /** @param {{ key: string, id: string }} which */
  async retry({ key, id }) {
    const m = findMessage(this.model, key, id);
    const to = m?.results.filter(r => r.status === 201).map(r => r.to) ?? [];
    if (!m || !to.length) return;
    this.settle(key, id, m.results.map(r => r.status === 201 ? { ...r, status: 0 } : r));
    if (m.field && Date.now() - m.time > retryTime) m.field = await this.sign(m.results.map(r => r.to), id, Date.now(), m.text);
    const report = await this.client?.send(to, entityOf(m.text, m.field), { id });
    const good = new Set(report?.results.filter(r => r.status === 200).map(r => r.to));
    this.settle(key, id, m.results.map(r => good.has(r.to) ? { ...r, status: 200, text: "" } : doubt(r)));
  }

  /** @param {string} key @param {string} id @param {Result[]} results */
  settle(key, id, results) {
    const m = findMessage(this.model, key, id);
    if (!m) return;
    this.emit({ t: "outcome", key, id, results });
    void this.keep(key, this.model.conversations[key].to, m);
  }

  /** @param {{ to: string[] }} whom */
  async tell({ to }) {
    this.set({ waiting: [...new Set([...this.model.waiting, ...to])] });
    await this.client?.watch(to);
  }

  /** @param {{ key: string }} which */
  read({ key }) { if (this.model.conversations[key]?.unread) this.emit({ t: "read", key }); }

  /** @param {{ state: PresenceState, note: string }} own */
  async setState({ state, note }) {
    if (!listens(state)) {
      await this.client?.unlisten();
      return this.set({ listening: false, note });
    }
    const listening = /** @type {ListenState} */ (state);
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

  /** @param {{ address: string, id: string, reason: string }} about */
  async report({ address, id, reason }) {
    const m = this.model.conversations[address]?.messages.findLast(m => !m.mine && m.id === id);
    await this.client?.request("REPORT", { ima: address, id: id || undefined, reason }, m?.entity).catch(err => { throw err.status === 405 ? new Error("This site takes no reports.") : err; });
  }

  async watchers() { return await this.client?.watchers() ?? []; }

  /** @param {Partial<Model["prefs"]>} prefs */
  async setPrefs(prefs) {
    this.set({ prefs: { ...this.model.prefs, ...prefs } });
    await save("prefs", this.model.prefs);
    if (prefs.history) for (const [key, c] of Object.entries(this.model.conversations)) for (const m of c.messages) await this.keep(key, c.to, m);
  }

  deleteHistory() { return deleteMessages(); }

  staySignedIn() {
    return this.staying ??= this.keepAppPassword().finally(() => { this.staying = undefined; });
  }

  async keepAppPassword() {
    const { client } = this;
    if (!client || this.model.stay === "yes") return;
    const { data, id } = (await client.request("APP", { add: "web chat" })).params;
    try {
      await save("stay", { address: this.model.me, password: data, id });
    } catch (err) {
      await client.request("APP", { remove: id }).catch(() => {});
      throw err;
    }
    this.set({ stay: "yes" });
  }

  async signOut() {
    const client = this.client, stay = await load("stay").catch(() => undefined);
    if (stay?.id) await client?.request("APP", { remove: stay.id }).catch(() => {});
    await save("stay", undefined).catch(() => {});
    this.leave("");
    await client?.stop();
  }

  /** @param {string} error */
  leave(error) {
    this.client = this.trust = this.secrets = undefined;
    this.share(undefined);
    const { prefs } = this.model;
    this.set({ phase: "out", me: "", error, online: false, stale: false, listening: true, state: "available", note: "", contacts: {}, presence: {}, conversations: {}, blocked: [], waiting: [], stay: "no", prefs });
  }
}

/** @param {Result} r */
function doubt(r) { return r.status ? r : { ...r, status: 201 }; }

/** @param {SimpError | undefined} error @param {string | undefined} token */
function signInError(error, token) {
  switch (error?.status) {
    case 401: return !token ? "The address or the password is wrong." : error.message === "token expired" ? "The token has expired. Sign in with a new one." : "The token is not valid, or has expired.";
    case 429: return "There were too many attempts. Try again in a minute.";
    case undefined: case 0: case 503: return "The server cannot be reached. Try again.";
  }
  return `The server refuses: ${error?.message}`;
}

/** @param {string} text @param {string | undefined} field */
function entityOf(text, field) { return field ? new TextEncoder().encode(`${field}\r\n\r\n${text}`) : textEntity(text); }

// ---- Tabs: the one that holds the lock runs the engine, and the others ask it ----

export class Tabs {
  /** @param {(event: Event | { t: "all" }) => void} show is called after each change of the model */
  constructor(show) {
    this.model = newModel();
    this.show = show;
    /** @type {Secrets} */
    this.secrets = undefined;
    /** @type {Engine | undefined} */
    this.engine = undefined;
    this.release = () => {};
    this.self = crypto.randomUUID();
    this.holder = "";
    this.calls = 0;
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    this.pending = new Map();
    this.channel = new BroadcastChannel("simp");
    this.channel.onmessage = event => void this.receive(event.data);
    this.channel.postMessage({ t: "join", tab: this.self });
    this.wait();
  }

  wait() {
    this.stopWaiting = new AbortController();
    navigator.locks.request("simp", { signal: this.stopWaiting.signal }, () => {
      this.engine = new Engine(this.model, this.secrets, event => {
        this.channel.postMessage({ t: "event", event });
        this.show(event);
      }, secrets => {
        this.secrets = secrets;
        this.channel.postMessage({ t: "secrets", secrets });
      });
      this.follow(crypto.randomUUID());
      this.channel.postMessage({ t: "holder", holder: this.holder });
      void this.engine.begin();
      return new Promise(resolve => { this.release = () => resolve(undefined); });
    }).catch(() => {});
  }

  async freeze() {
    this.stopWaiting?.abort();
    const engine = this.engine;
    this.engine = undefined;
    const gone = engine?.client?.suspend();
    if (engine) this.secrets = engine.secrets;
    this.release();
    await gone;
  }

  thaw() {
    if (this.engine) return;
    this.channel.postMessage({ t: "join", tab: this.self });
    this.wait();
  }

  /** @param {any} said */
  async receive(said) {
    switch (said.t) {
      case "join":
        if (this.engine) this.channel.postMessage({ t: "snapshot", tab: said.tab, holder: this.holder, model: this.model, secrets: this.secrets });
        return;
      case "holder":
        if (this.engine) return;
        this.follow(said.holder);
        if (this.model.phase === "starting") this.channel.postMessage({ t: "join", tab: this.self });
        return;
      case "call": {
        if (!this.engine || said.holder !== this.holder) return;
        const reply = { t: "reply", tab: said.tab, call: said.call };
        try {
          this.channel.postMessage({ ...reply, value: await this.perform(said.name, said.args) });
        } catch (err) {
          this.channel.postMessage({ ...reply, error: /** @type {Error} */ (err).message });
        }
        return;
      }
      case "reply": {
        const call = said.tab === this.self ? this.pending.get(said.call) : undefined;
        this.pending.delete(call ? said.call : -1);
        return said.error === undefined ? call?.resolve(said.value) : call?.reject(new Error(said.error));
      }
      case "snapshot":
        if (this.engine || said.tab !== this.self) return;
        this.follow(said.holder);
        Object.assign(this.model, said.model);
        this.secrets = said.secrets;
        return this.show({ t: "all" });
      case "secrets":
        this.secrets = said.secrets;
        return;
      case "event":
        if (this.engine) return;
        apply(this.model, said.event);
        this.show(said.event);
    }
  }

  /** @param {string} holder */
  follow(holder) {
    if (holder === this.holder) return;
    this.holder = holder;
    for (const { reject } of this.pending.values()) reject(new Error("The tab that held the connection has gone. Try again."));
    this.pending.clear();
  }

  /** @param {string} name @param {object} [args] @returns {Promise<any>} */
  call(name, args = {}) {
    if (this.engine) return this.perform(name, args);
    return new Promise((resolve, reject) => {
      const call = ++this.calls;
      this.pending.set(call, { resolve, reject });
      this.channel.postMessage({ t: "call", tab: this.self, holder: this.holder, call, name, args });
    });
  }

  /** @param {string} name @param {object} args */
  async perform(name, args) {
    const { engine } = /** @type {any} */ (this);
    return (name in engine ? engine : engine.trust)[name](args);
  }
}
