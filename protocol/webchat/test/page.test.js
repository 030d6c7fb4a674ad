// @ts-check
// The parts of the page that need no page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { apply, canonical, clean, cleanLine, findMessage, keyOf, keyOfHash, newModel, sentence, splitLinks, stateOf, wordOf } from "../files/engine.js";

test("characters that disguise text are made visible", () => {
  assert.equal(clean("a\u202eb\u0007c\u2066d\u200fe"), "a\u27e8U+202E\u27e9b\u27e8U+0007\u27e9c\u27e8U+2066\u27e9d\u27e8U+200F\u27e9e");
  assert.equal(clean("a\r\nb\rc\td"), "a\nb\nc\td");
  assert.equal(clean("\u001b[31m\u{e0041}"), "\u27e8U+001B\u27e9[31m\u27e8U+E0041\u27e9");
  assert.equal(clean("\u{1f469}\u200d\u{1f680} שלום e\u0301"), "\u{1f469}\u200d\u{1f680} שלום e\u0301");
  assert.equal(cleanLine("a\nb"), "a b");
});

test("links are found, and only those of the web", () => {
  const links = (/** @type {string} */ s) => splitLinks(s).filter(p => p.link).map(p => p.text);
  assert.deepEqual(links("see https://a.example/x?y=1, or (http://b.example/)."), ["https://a.example/x?y=1", "http://b.example/"]);
  assert.deepEqual(links("https://a.example/x_(y) javascript:alert(1) data:text/html,x file:///x"), ["https://a.example/x_(y)"]);
  assert.deepEqual(links("http:// https://"), []);
  for (const text of ["", "none", "https://a.example", "a https://a.example b https://b.example."]) {
    assert.equal(splitLinks(text).map(p => p.text).join(""), text);
  }
});

test("addresses are completed, and compared as the site does", () => {
  const me = "alice@example.com";
  assert.equal(canonical(" Bob ", me), "bob@example.com");
  assert.equal(canonical("Bob@EXAMPLE.com", me), "bob@example.com");
  assert.equal(canonical("Bob@Other.example", me), "Bob@other.example");
  for (const bad of ["", " ", "@example.com", "bob@", "a b@example.com"]) assert.equal(canonical(bad, me), "", bad);
});

test("the model follows events", () => {
  const model = newModel(), key = keyOf(["b@c", "a@c", "b@c"]);
  assert.equal(key, "a@c b@c");
  const m = { id: "1", from: "me@c", mine: true, text: "hi", time: 1, results: [{ to: "a@c", status: 0, text: "" }] };
  apply(model, { t: "message", key, to: ["a@c", "b@c"], m });
  apply(model, { t: "message", key: "a@c", to: ["a@c"], m: { ...m, from: "a@c", mine: false, results: [] } });
  assert.deepEqual([model.conversations[key].unread, model.conversations["a@c"].unread], [0, 1]);
  apply(model, { t: "outcome", key, id: "1", results: [{ to: "a@c", status: 201, text: "" }] });
  assert.equal(findMessage(model, key, "1")?.results[0].status, 201);
  assert.equal(findMessage(model, "a@c", "1"), undefined, "a message of somebody else's");
  apply(model, { t: "read", key: "a@c" });
  assert.equal(model.conversations["a@c"].unread, 0);
});

test("presence is not known while the page or its node is cut off", () => {
  const model = newModel();
  apply(model, { t: "presence", address: "a@c", state: "away", note: "" });
  assert.equal(stateOf(model, "a@c"), "unknown");
  apply(model, { t: "set", values: { online: true } });
  assert.deepEqual([stateOf(model, "a@c"), stateOf(model, "b@c")], ["away", "unknown"]);
  apply(model, { t: "set", values: { stale: true } });
  assert.equal(stateOf(model, "a@c"), "unknown");
});

test("each outcome is said by its word", () => {
  const say = (/** @type {number} */ status) => sentence({ to: "b@c", status, text: "" });
  assert.deepEqual([200, 201, 480, 481, 486, 404, 503, 500].map(say), ["delivered to b@c", "in doubt, b@c", "not delivered to b@c: not listening", "not delivered to b@c: not reading",
    "not delivered to b@c: refused", "not delivered to b@c: no such user", "not delivered to b@c: unreachable", "not delivered to b@c"]);
  assert.equal(wordOf(0), "sending");
});

test("addresses hide no character", () => {
  for (const c of "\u00ad\u034f\u115f\u1160\u180e\u200b\u2800\u3164") {
    assert.equal(cleanLine(`a${c}b@c`), `a\u27e8U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9b@c`);
  }
});

test("a long row of marks after a link is cut in linear time", () => {
  const start = performance.now(), marks = ".".repeat(1 << 20);
  assert.equal(splitLinks(`https://a.example/${marks}x${marks}`)[0].text, `https://a.example/${marks}x`);
  assert.ok(performance.now() - start < 20_000);
});

test("international domains have one form", () => {
  assert.equal(canonical("Bob@B\u00fccher.example", "alice@example.com"), "Bob@xn--bcher-kva.example");
  assert.equal(canonical("Bob", "alice@b\u00fccher.example"), "bob@xn--bcher-kva.example");
  assert.equal(canonical("bob@b\u00fc/x", "alice@example.com"), "");
});

test("only conversations that exist are opened by a fragment", () => {
  const model = newModel();
  model.contacts["b@c"] = "";
  for (const bad of ["", "#", "#%", "#constructor", "#toString", "#__proto__", "#x@c"]) assert.equal(keyOfHash(model, bad), undefined, bad);
  assert.equal(keyOfHash(model, "#b%40c"), "b@c");
});
