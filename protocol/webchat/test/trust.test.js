// @ts-check
// What the engine says of signatures, against a server that may lie.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Engine, newModel } from "../files/engine.js";
import { sign, toBase64, verifyList } from "../files/simp.js";
import { Site, device, installDatabase, vectors } from "./fake.js";

const [alice, bob] = ["alice@example.com", "bob@example.org"], empty = "A".repeat(43), { time } = vectors.messages[0];
const print = (/** @type {number} */ n) => vectors.keys[n - 1].fingerprint;
const kept = installDatabase();
Object.assign(globalThis, { location: { href: "http://test/", protocol: "https:" } });

/** Lab is bob's browser at a server that answers KEYS as the test says. */
class Lab {
  constructor() {
    this.site = new Site();
    this.site.ima = bob;
    /** @type {string | number} the name of alice's list, or a status */
    this.list = "three";
    /** @type {any} the name of the list after fresh=yes, if it differs */
    this.fresh = undefined;
    /** @type {{ lines: any[], head: string } | number} bob's own list */
    this.own = { lines: [], head: empty };
    this.addStatus = 200;
    /** @type {Uint8Array[]} what bob has sent */
    this.sent = [];
    /** @type {string[]} */
    this.reports = [];
    /** @type {string[]} */
    this.notices = [];
    this.sends = 200;
    this.messages = 0;
    this.site.script = (socket, { tag, verb, params, literal }) => this.answer(socket, tag, verb, params, literal);
    this.engine = new Engine(newModel(), undefined, event => { if (event.t === "notice") this.notices.push(event.text); }, () => {});
  }

  /** @param {any} socket @param {string} tag @param {string} verb @param {any} params @param {Uint8Array} [literal] */
  answer(socket, tag, verb, params, literal) {
    const say = (/** @type {any} */ list) => {
      if (typeof list === "number") return socket.say(`${tag} ${list}`);
      for (const line of list.lines) socket.say(`${tag} 100 ${Object.entries(line).map(([key, value]) => `${key}=${value}`).join(" ")}`);
      socket.say(`${tag} 200 head=${list.head}`);
    };
    switch (verb) {
      case "KEYS": {
        const name = params.fresh && this.fresh || this.list;
        say(params.ima === bob ? this.own : typeof name === "number" ? name : vectors.lists[name]);
        return true;
      }
      case "KEY":
        socket.say(`${tag} ${this.addStatus}`);
        return true;
      case "REPORT":
        this.reports.push(`${params.ima} ${params.id} ${params.reason} ${new TextDecoder().decode(literal)}`);
        socket.say(`${tag} ${this.addStatus}`);
        return true;
      case "SEND":
        this.sent.push(literal ?? new Uint8Array());
        socket.say(`${tag} ${this.sends}`);
        return true;
    }
    return false;
  }

  async enter() {
    Object.assign(globalThis, { WebSocket: this.site.WebSocket });
    this.engine.model.phase = "out";
    this.engine.signIn({ address: bob, password: "secret" });
    await this.site.until(() => this.engine.model.stay === "offered");
    await this.engine.trust?.ready;
    return this;
  }

  /** say sends bob a message of alice's. @param {string} id @param {Uint8Array} entity */
  say(id, entity) { this.site.sockets[0].say(`${id} MESSAGE from=${alice} to=${bob} id=${id} time=${time}`, new TextDecoder().decode(entity)); }

  /** receive has alice's n-th device sign a message, and returns how it is shown. @param {number} by @param {(entity: Uint8Array) => Uint8Array | void} [alter] */
  async receive(by, alter = () => {}) {
    const id = `m${++this.messages}`, plain = new TextEncoder().encode("\r\nhi");
    let entity = by ? await sign(await device(vectors.keys[by - 1].seed), { from: alice, to: [bob], id, time: Date.parse(time) }, plain) : plain;
    entity = /** @type {any} */ (alter(entity)) ?? entity;
    this.say(id, entity);
    await this.site.until(() => this.site.log.includes(`${id} 200`));
    const m = this.engine.model.conversations[alice].messages.findLast(one => one.id === id);
    assert.ok(m?.mark);
    return m.mark;
  }

  asked() { return this.site.log.filter(line => line.includes(`KEYS ima=${alice}`)).length; }
}

/** @type {Lab} */
let lab;
beforeEach(() => {
  kept.clear();
  lab = new Lab();
});

test("an honest message is signed, and verified once its key was compared", async () => {
  await lab.enter();
  const first = await lab.receive(2);
  assert.deepEqual([first.state, first.print, first.verified], ["signed", print(2), false]);
  const { keys, rewritten } = await lab.engine.trust?.keysOf({ address: alice }) ?? { keys: [], rewritten: true };
  assert.deepEqual(keys.map(k => [k.print, k.name, k.revoked, k.vouched]), [[print(1), "laptop", "revoked", false], [print(2), "phone", "", true], [print(3), "", "", true]]);
  assert.equal(rewritten, false);
  await lab.engine.trust?.verifyKey({ address: alice, kid: keys[1].kid });
  assert.equal((await lab.receive(2)).verified, true);
  await assert.rejects(async () => lab.engine.trust?.verifyKey({ address: alice, kid: keys[0].kid }), /revoked/);
  await lab.engine.signOut();
  const again = await new Lab().enter(); // it was remembered
  assert.equal((await again.receive(2)).verified, true);
  await again.engine.signOut();
});

test("a new key is shown as new, once", async () => {
  await lab.enter();
  lab.list = "stranger";
  assert.equal((await lab.receive(1)).state, "signed");
  assert.deepEqual([(await lab.receive(4)).state, (await lab.receive(4)).state, (await lab.receive(3)).state], ["new key", "signed", "signed"]);
  await lab.engine.signOut();
});

test("an unsigned message asks for no keys, nor does one that is bad in any case", async () => {
  await lab.enter();
  assert.equal((await lab.receive(0)).state, "unsigned");
  const { state, why } = await lab.receive(1, () => new TextEncoder().encode("SIMP-Signature: a..b\r\n\r\nhi"));
  assert.deepEqual([state, why], ["bad", "the signature does not have the right form, or is not first"]);
  assert.equal(lab.asked(), 0);
  await lab.engine.signOut();
});

test("a server that rewrites a list, or hides a change of it, is noticed", async () => {
  await lab.enter();
  assert.equal((await lab.receive(1)).state, "signed");
  for (const [list, by] of /** @type {const} */ ([["rewritten", 3], ["one", 1]])) {
    lab.list = list;
    const { state, why } = await lab.receive(by);
    assert.deepEqual([state, why], ["bad", "the sender's server rewrote their list of keys"]);
    assert.equal((await lab.engine.trust?.keysOf({ address: alice }))?.rewritten, true);
    await assert.rejects(async () => lab.engine.trust?.verifyKey({ address: alice, kid: vectors.keys[0].kid }), /rewrote/);
  }
  await lab.engine.trust?.forgetKeys({ address: alice });
  assert.equal((await lab.receive(1)).state, "signed");
  await lab.engine.signOut();
});

test("a head that was only notified of cannot be hidden either", async () => {
  await lab.enter();
  lab.list = "one";
  assert.equal((await lab.receive(1)).state, "signed");
  lab.site.sockets[0].say(`* KEYS ima=${alice} head=${vectors.lists.three.head} index=50`);
  await lab.site.until(() => lab.engine.model.conversations[alice].messages.some(m => m.notice));
  assert.equal(lab.engine.model.conversations[alice].messages.at(-1)?.text, `The keys of ${alice} have changed.`);
  assert.equal((await lab.receive(1)).state, "bad");
  lab.list = "three";
  assert.equal((await lab.receive(1)).state, "signed");
  await lab.engine.signOut();
});

test("a list that lags is asked for once more before a message is bad", async () => {
  await lab.enter();
  lab.list = "one";
  lab.fresh = "three";
  assert.equal((await lab.receive(2)).state, "signed");
  assert.equal(lab.asked(), 2);
  await lab.engine.signOut();
});

test("a list that contradicts itself makes a message bad", async () => {
  await lab.enter();
  lab.list = "wrong: another name";
  assert.deepEqual((await lab.receive(1)).state, "bad");
  await lab.engine.signOut();
});

test("without the sender's keys nothing is known, and their site is left in peace for a while", async () => {
  await lab.enter();
  const fails = async () => {
    const mark = await lab.receive(1);
    assert.equal(mark.state, "not verified");
    assert.match(mark.why ?? "", /could not be fetched/);
  };
  lab.list = 502;
  await fails();
  const resting = lab.engine.trust?.resting;
  assert.ok((resting?.get("@example.com") ?? 0) > Date.now() - 10_000);
  resting?.set("@example.com", Date.now() + 60_000); // as long as the test may take
  await fails();
  assert.equal(lab.asked(), 1);
  resting?.clear();
  lab.list = 405;
  await fails();
  assert.equal(lab.asked(), 2);
  await lab.engine.signOut();
});

test("one list does for all messages that had arrived", async () => {
  await lab.enter();
  const by = await device(vectors.keys[0].seed), ids = Array.from({ length: 20 }, (_, i) => `m${i}`), plain = new TextEncoder().encode("\r\nhi");
  const signed = await Promise.all(ids.map(id => sign(by, { from: alice, to: [bob], id, time: Date.parse(time) }, plain)));
  ids.forEach((id, i) => lab.say(id, i % 5 ? signed[i] : plain)); // some are not signed, and must not overtake others
  await lab.site.until(() => ids.every(id => lab.site.log.includes(`${id} 200`)));
  const { messages } = lab.engine.model.conversations[alice];
  assert.deepEqual(messages.map(m => [m.id, m.mark?.state]), ids.map((id, i) => [id, i % 5 ? "signed" : "unsigned"]));
  assert.equal(lab.asked(), 1);
  await lab.engine.signOut();
});

test("a report has the message as it came, and a site that takes none is said so", async () => {
  await lab.enter();
  await lab.receive(0);
  await lab.engine.report({ address: alice, id: "m1", reason: "spam" });
  assert.deepEqual(lab.reports, [`${alice} m1 spam \r\nhi`]);
  lab.addStatus = 405;
  await assert.rejects(lab.engine.report({ address: alice, id: "", reason: "other" }), { message: "This site takes no reports." });
  lab.addStatus = 429;
  await assert.rejects(lab.engine.report({ address: alice, id: "", reason: "other" }), { status: 429 });
  await lab.engine.signOut();
});

test("a notification does not show the text of a bad message", async () => {
  await lab.enter();
  /** @type {string[]} */
  const shown = [];
  lab.engine.notifyLater = (_, __, text) => { shown.push(text); };
  await lab.receive(1, () => new TextEncoder().encode("SIMP-Signature: a..b\r\n\r\nevil"));
  assert.deepEqual(shown, ["bad signature"]);
  await lab.engine.signOut();
});

/** ownKey returns the key that the browser keeps. */
const ownKey = () => kept.get(`device ${bob} `);

test("a browser makes a key if the user has none, signs, and repeats the same octets", async () => {
  await lab.enter();
  assert.ok(lab.site.log.some(line => line.endsWith(`KEY add=${toBase64(ownKey().key)} name="web chat"`)), lab.site.log.join("\n"));
  assert.equal(ownKey().pair.privateKey.extractable, false);
  lab.sends = 201;
  await lab.engine.send({ to: [alice], text: "grüß dich" });
  const messages = lab.engine.model.conversations[alice].messages, [m] = messages;
  await lab.site.until(() => m.results[0].status === 201);
  await lab.engine.retry({ key: alice, id: m.id });
  assert.deepEqual([m.mark?.state, lab.sent.length], ["signed", 2]);
  assert.deepEqual(lab.sent[0], lab.sent[1]);
  assert.match(new TextDecoder().decode(lab.sent[0]), /^SIMP-Signature: [\w-]+\.\.[\w-]{86}\r\n\r\ngrüß dich$/);
  m.time -= 301_000; // by now alice's client may have forgotten it, and would call the signature too old
  m.field = "SIMP-Signature: too old";
  await lab.engine.retry({ key: alice, id: m.id });
  assert.match(new TextDecoder().decode(lab.sent[2]), /^SIMP-Signature: [\w-]+\.\.[\w-]{86}\r\n\r\ngrüß dich$/);
  await lab.engine.signOut();
});

test("a browser adds no key beside those of other devices, and says so once", async () => {
  const { lines, head } = vectors.lists["bob's"];
  lab.own = { lines, head };
  await lab.enter();
  assert.deepEqual(lab.notices, ["Your messages are not signed: other devices of yours have keys, and this browser has none; see Settings."]);
  await lab.engine.send({ to: [alice], text: "hello" });
  assert.equal(lab.engine.model.conversations[alice].messages[0].mark?.state, "unsigned");
  const { code, own } = await lab.engine.trust?.keysOf() ?? { code: "", own: "" };
  assert.match(code, /^key:[\w-]{43}$/);
  assert.equal(own, "");
  await lab.engine.signOut();
  const again = new Lab();
  again.own = lab.own;
  await again.enter();
  assert.deepEqual(again.notices, []);
  await again.engine.trust?.addKey({ name: "office" });
  await again.engine.send({ to: [alice], text: "hello" });
  assert.equal(again.engine.model.conversations[alice].messages[0].mark?.state, "signed");
  await again.engine.signOut();
});

test("what this browser changed itself is no news", async () => {
  await lab.enter();
  const { kid, key } = ownKey(), line = { kid, key: toBase64(key), created: "2026-11-30T12:00:00.000Z", name: "web", record: "1" };
  lab.own = { lines: [line], head: await headOf(line) };
  await lab.engine.trust?.change({ revoke: "another" });
  lab.site.sockets[0].say(`* KEYS ima=${bob} head=${lab.own.head} index=9`);
  await lab.site.until(() => lab.site.log.filter(one => one.includes(`KEYS ima=${bob}`)).length > 3);
  await lab.engine.trust?.ready;
  assert.deepEqual(lab.notices, []);
  await lab.engine.signOut();
});

test("an older device vouches for a new one, whose code it is given", async () => {
  await lab.enter();
  const { key, kid } = vectors.keys[1], code = `key:${Buffer.from(key, "base64").toString("base64url")}`;
  await lab.engine.trust?.vouch({ code: ` ${code} `, name: "phone" });
  const line = lab.site.log.findLast(one => one.includes("by=")) ?? "", sig = / sig=(\S+)/.exec(line)?.[1] ?? "";
  const own = ownKey(), created = "2026-11-30T12:00:00.000Z", first = { kid: own.kid, key: toBase64(own.key), created, name: "web chat", record: "1" };
  const lines = [first, { kid, key, created, name: "phone", signer: own.kid, sig, record: "2" }];
  const answer = { status: 200, text: "", params: { head: "" }, partial: lines.map(params => ({ tag: "1", verb: "", status: 100, params, text: "" })) };
  await assert.rejects(verifyList(bob, answer), /head/, "the proof is right, and only the head is missing");
  await assert.rejects(async () => lab.engine.trust?.vouch({ code: "key:xyz!", name: "" }), /not what the new device shows/);
  await lab.engine.signOut();
});

for (const [status, words] of /** @type {const} */ ([[403, "Your messages are not signed: an app password may not add a key; sign in with your own password once."], [405, undefined]])) {
  test(`a server that answers ${status} to a new key`, async () => {
    lab.addStatus = status;
    await lab.enter();
    assert.deepEqual(lab.notices, words ? [words] : []);
    await lab.engine.signOut();
  });
}

test("a key that was revoked signs no more", async () => {
  await lab.enter();
  const { kid, key } = ownKey(), created = "2026-11-30T12:00:00.000Z", line = { kid, key: toBase64(key), created, record: "1", revoked: created, revocation: "2" };
  const head = await headOf(line);
  lab.own = { lines: [line], head };
  lab.site.sockets[0].say(`* KEYS ima=${bob} head=${head} index=9`);
  await lab.site.until(() => lab.notices.length > 1);
  assert.deepEqual(lab.notices, ["Your messages are not signed: the key of this browser was revoked.", "Your list of keys has changed: see Settings."]);
  await lab.engine.send({ to: [alice], text: "hello" });
  assert.equal(lab.engine.model.conversations[alice].messages[0].mark?.state, "unsigned");
  await lab.engine.signOut();
});

/** headOf computes the head of bob's list of one key, as SIMP.md says it. @param {any} line */
async function headOf({ kid, key, created, name = "", revoked }) {
  const ms = (/** @type {string} */ t) => String(Date.parse(t)), records = [["add", bob, key, ms(created), name, "", ""]];
  if (revoked) records.push(["revoke", bob, kid, ms(revoked), ""]);
  let head = Buffer.alloc(32);
  for (const fields of records) head = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.concat([head, Buffer.from(fields.map(f => `${f}\0`).join(""))])));
  return head.toString("base64url");
}

test("a browser without Ed25519 says so, and calls nothing bad", async () => {
  const missing = async () => { throw new DOMException("missing", "NotSupportedError"); };
  const { generateKey, importKey } = crypto.subtle;
  const original = importKey.bind(crypto.subtle);
  crypto.subtle.generateKey = missing;
  crypto.subtle.importKey = /** @type {any} */ ((/** @type {any[]} */ ...args) => args[2] === "Ed25519" && args[0] === "raw" ? missing() : /** @type {any} */ (original)(...args));
  try {
    await lab.enter();
    assert.deepEqual(lab.notices, ["Your messages are not signed: this browser lacks Ed25519, and cannot verify signatures either."]);
    const by = await device(vectors.keys[0].seed).catch(() => undefined);
    assert.equal(by, undefined);
    const { entity } = vectors.messages[0];
    lab.site.sockets[0].say(`x MESSAGE from=${alice} to=${bob} id=m1 time=${time}`, Buffer.from(entity, "base64").toString());
    await lab.site.until(() => lab.site.log.includes("x 200"));
    assert.equal(lab.engine.model.conversations[alice].messages[0].mark?.state, "not verified");
  } finally {
    Object.assign(crypto.subtle, { generateKey, importKey });
  }
  await lab.engine.signOut();
});
