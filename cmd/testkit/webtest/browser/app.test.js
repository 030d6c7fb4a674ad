// @ts-check
// The page's own logic under Node, with elements that nobody sees. What needs
// a browser is in the other files.
import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { Window } from "happy-dom";

const [alice, bob, carol] = ["alice@example.com", "bob@example.com", "carol@example.com"];
/** @type {typeof import("../../../../protocol/webchat/files/app.js")} */
let app;
/** @type {InstanceType<typeof app.Page>} */
let page;
/** @type {{ name: string, args: any }[]} what the page asked of the engine */
let calls;
/** @type {{ [name: string]: any }} what the engine answers */
let answers;
const world = /** @type {any} */ (globalThis);

before(async () => {
  const window = new Window({ url: "http://127.0.0.1/" });
  window.document.body.innerHTML = '<div id="app"></div><div id="said" role="status"></div>';
  for (const name of ["window", "document", "location", "history", "Event", "KeyboardEvent", "Node"]) world[name] = /** @type {any} */ (window)[name] ?? window;
  world.window = window;
  Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: { request: () => new Promise(() => {}) } } });
  world.BroadcastChannel = class { postMessage() {} };
  Object.assign(window, { isSecureContext: false });
  app = await import("../../../../protocol/webchat/files/app.js");
});

const text = () => document.getElementById("app")?.textContent ?? "";
const heard = () => [...document.querySelectorAll("#said p")].map(one => one.textContent);

test("a page that is not secure offers no login", () => {
  assert.match(text(), /not loaded over a secure connection/);
  assert.equal(document.querySelector("form"), null);
});

beforeEach(() => {
  document.getElementById("said")?.replaceChildren();
  calls = [];
  answers = {};
  page = new app.Page();
  page.tabs.call = async (name, args) => {
    calls.push({ name, args });
    const answer = answers[name];
    if (answer instanceof Error) throw answer;
    return answer;
  };
});

/** enter has the page show that alice is signed in. @param {Partial<import("../../../../protocol/webchat/types.js").Model>} [values] */
function enter(values = {}) {
  tell({ phase: "in", online: true, me: alice, contacts: { [bob]: "" }, presence: { [bob]: { state: "away", note: "at lunch" } }, ...values });
}

/** tell changes the model as an event does. @param {Partial<import("../../../../protocol/webchat/types.js").Model>} values */
function tell(values) {
  Object.assign(page.model, values);
  page.show({ t: "set", values });
}

/** arrive has a message arrive. @param {string} key @param {Partial<import("../../../../protocol/webchat/types.js").Message>} message */
function arrive(key, message) {
  const m = { id: "1", from: key, mine: false, text: "hi", time: 1e12, results: [], ...message };
  const c = page.model.conversations[key] ??= { to: [key], messages: [], unread: 0 };
  c.messages.push(m);
  if (!m.mine && !m.notice) c.unread++;
  page.show({ t: "message", key, to: [key], m });
  return m;
}

const submit = () => document.querySelector("form")?.dispatchEvent(new Event("submit"));

test("a form asks for address and password, and a wrong address is said", () => {
  tell({ phase: "out" });
  const form = /** @type {HTMLFormElement} */ (document.querySelector("form"));
  assert.equal(form.getAttribute("aria-label"), "Sign in");
  const [address, password] = form.querySelectorAll("input");
  address.value = "alice";
  submit();
  assert.match(text(), /must look like alice@example.com/);
  address.value = " Alice@EXAMPLE.com ";
  password.value = "secret";
  submit();
  assert.deepEqual(calls, [{ name: "signIn", args: { address: alice, password: "secret" } }]);
});

test("why nobody is signed in is said, once it is certain", async () => {
  tell({ phase: "entering", me: alice });
  assert.match(text(), /Signing in/);
  tell({ phase: "out", me: "", error: "The token has expired. Sign in with a new one." });
  await new Promise(resolve => setTimeout(resolve));
  assert.match(text(), /The token has expired/);
});

test("an invitation's code is taken from the address, and both passwords have to be the same", () => {
  page.code = "k3fm";
  tell({ phase: "out" });
  const form = /** @type {HTMLFormElement} */ (document.querySelector("form")), [address, first, second] = form.querySelectorAll("input");
  assert.equal(form.getAttribute("aria-label"), "Create account");
  Object.assign(address, { value: "dave@example.com" });
  Object.assign(first, { value: "one" });
  Object.assign(second, { value: "two" });
  submit();
  assert.match(text(), /two passwords differ/);
});

test("the list says presence and unread counts in words", () => {
  enter();
  page.showList();
  const [item] = document.querySelectorAll(".contacts li");
  assert.equal(item.getAttribute("aria-label"), `${bob}, away, 0 unread`);
  arrive(bob, {});
  page.showList();
  assert.equal(item.getAttribute("aria-label"), `${bob}, away, 1 unread`);
  assert.equal(document.title, "(1) SIMP chat");
  assert.deepEqual(heard(), [`Message from ${bob}`]);
  tell({ stale: true });
  page.showList();
  assert.equal(item.getAttribute("aria-label"), `${bob}, not known now, 1 unread`);
  assert.match(heard().join(), /cannot reach the rest of its site/);
});

test("what was typed stays with its conversation", () => {
  enter({ contacts: { [bob]: "", [carol]: "Carol" } });
  page.openKey(bob);
  const box = () => /** @type {HTMLTextAreaElement} */ (document.querySelector("textarea"));
  box().value = "half a thought";
  page.openKey(carol);
  assert.equal(box().value, "");
  page.openKey(bob);
  assert.equal(box().value, "half a thought");
});

test("a message that could not be sent is back in the box, and the reason is said", async () => {
  enter();
  page.openKey(bob);
  answers.send = new Error("The message is too long.");
  const box = /** @type {HTMLTextAreaElement} */ (document.querySelector("textarea"));
  box.value = "long";
  await page.send();
  assert.equal(box.value, "long");
  assert.deepEqual(heard(), ["The message is too long."]);
});

test("each outcome is shown and said by its word, with what can be done", () => {
  enter();
  page.openKey(bob);
  const m = arrive(bob, { mine: true, from: alice, results: [{ to: bob, status: 0, text: "" }], mark: { state: "signed" } });
  const buttons = () => [...document.querySelectorAll(".outcome button")].map(one => one.textContent);
  const end = (/** @type {number} */ status) => {
    m.results = [{ to: bob, status, text: "" }];
    page.show({ t: "outcome", key: bob, id: m.id, results: m.results });
    return document.querySelector(".result")?.textContent;
  };
  assert.match(document.querySelector(".message")?.textContent ?? "", /^You .* signedhi. sending$/);
  assert.equal(end(201), "? in doubt");
  assert.deepEqual(buttons(), ["Try again"]);
  assert.equal(end(480), "\u2715 not listening");
  assert.deepEqual(buttons(), ["Tell me when they listen"]);
  assert.equal(end(404), "\u2715 no such user");
  assert.deepEqual(buttons(), []);
  assert.equal(end(200), "\u2713 delivered");
  assert.deepEqual(heard(), [`in doubt, ${bob}`, `not delivered to ${bob}: not listening`, `not delivered to ${bob}: no such user`, `delivered to ${bob}`]);
});

test("each state of a signature is said in words, and the text of a bad message only on request", () => {
  enter();
  page.openKey(bob);
  const words = (/** @type {any} */ mark) => {
    arrive(bob, { text: "evil", mark });
    return [...document.querySelectorAll(".mark")].at(-1)?.textContent;
  };
  assert.equal(words({ state: "signed" }), "signed");
  assert.equal(words({ state: "signed", verified: true }), "signed, verified");
  assert.equal(words({ state: "new key", print: "k3v8-0q2m" }), "signed with a new key, k3v8-0q2m");
  assert.equal(words({ state: "unsigned" }), "unsigned");
  assert.equal(words({ state: "not verified", why: "the site is down" }), "not verified");
  const shown = () => text().split("evil").length - 1, before = shown();
  assert.equal(words({ state: "bad", why: "the message has two signatures" }), "bad signature");
  assert.equal(shown(), before);
  assert.match(text(), /The message has two signatures\./);
  const reveal = [...document.querySelectorAll("button")].find(one => one.textContent === "Show the text");
  reveal?.click();
  assert.equal(shown(), before + 1);
  arrive(bob, { notice: true, text: `The keys of ${bob} have changed.` });
  assert.match(document.querySelector("[role=note]")?.textContent ?? "", /have changed. Compare keys/);
});

test("keys are compared in a dialog", async () => {
  enter();
  page.openKey(bob);
  answers.keysOf = { own: "aaaa-bbbb", code: "", rewritten: true, keys: [
    { kid: "K1", print: "k3v8-0q2m", name: "phone", mine: false, verified: false, vouched: true, revoked: "" },
    { kid: "K2", print: "zzzz-0q2m", name: "", mine: false, verified: false, vouched: false, revoked: "revoked by an operator" }] };
  page.compare();
  await new Promise(resolve => setTimeout(resolve));
  const dialog = /** @type {HTMLElement} */ (document.querySelector("dialog"));
  assert.match(dialog.textContent ?? "", /k3v8-0q2mphone, an older device vouches for itMark as verifiedzzzz-0q2m\(no name\), revoked by an operator.*Yours in this browser: aaaa-bbbb/s);
  assert.match(dialog.textContent ?? "", /rewrote their list of keys/);
  [...dialog.querySelectorAll("button")].find(one => one.textContent === "Mark as verified")?.click();
  await new Promise(resolve => setTimeout(resolve));
  assert.deepEqual(calls.map(one => one.name).filter(name => name !== "read"), ["keysOf", "verifyKey", "keysOf"]);
  assert.deepEqual(calls.find(one => one.name === "verifyKey")?.args, { address: bob, kid: "K1" });
  document.querySelector("dialog")?.close();
});

test("a message is reported with a reason", async () => {
  enter();
  page.openKey(bob);
  arrive(bob, { id: "m1", text: "buy now", mark: { state: "unsigned" } });
  arrive(bob, { id: "m2", text: "evil", mark: { state: "bad", why: "forged" } });
  arrive(bob, { id: "m3", mine: true, from: alice });
  [...document.querySelectorAll("button")].find(one => one.textContent === "Report")?.click();
  const dialog = /** @type {HTMLElement} */ (document.querySelector("dialog")), [message, reason] = dialog.querySelectorAll("select");
  assert.deepEqual([...message.options].map(one => [one.value, (one.textContent ?? "").replace(/^\S+:\d\d( [AP]M)? /, "")]), [["m2", "bad signature"], ["m1", "buy now"], ["", "none"]]);
  assert.deepEqual([...reason.options].map(one => one.value), ["spam", "abuse", "other"]);
  message.value = "m1";
  reason.value = "abuse";
  dialog.querySelector("form")?.dispatchEvent(new Event("submit"));
  await new Promise(resolve => setTimeout(resolve));
  assert.deepEqual(calls.at(-1), { name: "report", args: { address: bob, id: "m1", reason: "abuse" } });
  assert.deepEqual(heard().at(-1), "The report was sent.");
});

test("signing out leaves nothing of the conversations on the page", () => {
  enter();
  page.openKey(bob);
  arrive(bob, { text: "between us" });
  tell({ phase: "out", me: "", error: "" });
  assert.ok(!text().includes("between us"));
  assert.equal(document.title, "SIMP chat");
});
