// @ts-check
// The engine and the tabs, without a page: there is no IndexedDB here.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Engine, Tabs, newModel } from "../files/engine.js";
import { Site } from "./fake.js";

const world = /** @type {any} */ (globalThis);
world.location = { href: "http://test/" };
const login = { address: "alice@example.com", password: "secret" };

/** enter signs alice in. @param {Site} site @param {Engine} [engine] */
async function enter(site, engine = new Engine(newModel(), undefined, () => {}, () => {})) {
  world.WebSocket = site.WebSocket;
  engine.model.phase = "out";
  engine.signIn(login);
  await site.until(() => engine.model.stay === "offered");
  return engine;
}

test("a message that cannot be kept is shown all the same, and history is off", async () => {
  const site = new Site(), engine = await enter(site);
  engine.model.prefs.history = true;
  site.sockets[0].say("m1 MESSAGE from=bob@example.com id=x", "\r\nhi");
  await site.until(() => site.log.some(l => l.startsWith("m1 ")));
  assert.ok(site.log.includes("m1 200"));
  assert.deepEqual([engine.model.prefs.history, engine.model.conversations["bob@example.com"].messages.length], [false, 1]);
  engine.model.prefs.history = true;
  await engine.send({ to: ["bob@example.com"], text: "hello" });
  await site.until(() => engine.model.conversations["bob@example.com"].messages[1].results[0].status === 200);
  await engine.signOut();
});

test("what an earlier user's client says reaches nobody", async () => {
  const site = new Site(), engine = await enter(site), client = engine.client;
  assert.ok(client);
  engine.leave("");
  const { log } = site;
  site.sockets[0].say("m1 MESSAGE from=bob@example.com id=x", "\r\nhi");
  site.sockets[0].say("* STALE");
  await site.until(() => log.some(l => l.startsWith("m1 ")));
  assert.ok(log.includes("m1 486"));
  assert.deepEqual([engine.model.conversations, engine.model.stale], [{}, false]);
  engine.model.conversations["eve@example.com"] = { to: ["eve@example.com"], messages: [], unread: 0 };
  await enter(site, engine);
  assert.deepEqual(engine.model.conversations, {});
  await client.stop();
  await engine.signOut();
});

test("signing in twice makes one client", async () => {
  const site = new Site();
  world.WebSocket = site.WebSocket;
  const engine = new Engine(newModel(), undefined, () => {}, () => {});
  engine.signIn(login);
  const { client } = engine;
  engine.signIn(login);
  await site.until(() => engine.model.phase === "in");
  engine.signIn(login);
  assert.equal(engine.client, client);
  assert.equal(site.sockets.length, 1);
  await engine.signOut();
});

test("an app password that cannot be kept is removed, and is asked for once", async () => {
  const site = new Site(), engine = await enter(site);
  site.script = (socket, line) => {
    if (line.verb !== "APP" || !line.params.add) return false;
    socket.say(`${line.tag} 200 id=7 data=x`);
    return true;
  };
  site.log.length = 0;
  const both = await Promise.allSettled([engine.staySignedIn(), engine.staySignedIn()]);
  assert.deepEqual(both.map(one => one.status), ["rejected", "rejected"]);
  assert.deepEqual(site.log.map(l => l.replace(/^\S+ /, "")), ['APP add="web chat"', "APP remove=7"]);
  await engine.signOut();
});

test("the presence of a removed contact is not known", async () => {
  const site = new Site(), engine = await enter(site);
  engine.emit({ t: "presence", address: "bob@example.com", state: "away", note: "" });
  await engine.removeContact({ address: "bob@example.com" });
  assert.equal(engine.model.presence["bob@example.com"].state, "unknown");
  await engine.signOut();
});

test("a notification shows no text that could disguise it", async () => {
  /** @type {string[]} */
  const shown = [];
  world.Notification = class {
    static permission = "granted";
    /** @param {string} title @param {{ body: string }} options */
    constructor(title, { body }) { shown.push(title, body); }
  };
  const engine = new Engine(newModel(), undefined, () => {}, () => {});
  engine.model.prefs.notify = true;
  engine.notify("Message from a\u200bb@c", "x\u202ey", "a");
  assert.deepEqual(shown, ["Message from a\u27e8U+200B\u27e9b@c", "x\u27e8U+202E\u27e9y"]);
});

test("tabs: a call that nobody performed fails, and another is performed once", async () => {
  /** @type {(() => Promise<void>)[]} who waits for the lock */
  const waiting = [];
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: {
    request: (/** @type {string} */ _, /** @type {object} */ __, /** @type {() => Promise<void>} */ hold) => { waiting.push(hold); return Promise.resolve(); },
  } } });
  const next = () => void waiting.shift()?.();
  const shown = [0, 0, 0];
  const tabs = shown.map((_, i) => new Tabs(event => { if (event.t === "all") shown[i]++; }));
  const until = new Site().until;
  try {
    next();
    await until(() => tabs.every(tab => tab.holder !== "" && tab.holder === tabs[0].holder && tab.model.phase === "out"));
    assert.deepEqual(await tabs[2].call("watchers"), []);
    await tabs[0].freeze();
    const lost = tabs[2].call("watchers");
    next();
    await assert.rejects(lost, /has gone/);
    assert.deepEqual(await tabs[2].call("watchers"), []);
    const before = shown.slice();
    tabs[0].thaw();
    await until(() => shown[0] > before[0]);
    await tabs[2].call("watchers"); // whatever was said before has arrived
    assert.deepEqual(shown.slice(1), before.slice(1), "only the tab that asked starts anew");
  } finally {
    for (const tab of tabs) tab.channel.close();
  }
});
