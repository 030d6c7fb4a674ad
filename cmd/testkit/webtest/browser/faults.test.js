// @ts-check
// What the web chat says while nodes drain and die beneath it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Site, launch, open, openPage, outcome, send, signIn } from "./site.js";

const [alice, bob, carol] = ["alice@example.com", "bob@example.com", "carol@example.com"];

const site = new Site();
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  browser = await launch();
  await site.start();
});

after(async () => {
  await browser.close();
  await site.stop();
});

/** visit signs in behind a balancer whose first node is given. @param {number} node @param {string} user */
async function visit(node, user) {
  const { page } = await openPage(browser, await site.balance(node));
  page.setDefaultTimeout(60_000);
  await signIn(page, user);
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  return page;
}

/** nodeOf returns the node that a user's one session is on. @param {string} user */
async function nodeOf(user) {
  const found = /\bn([1-3])\b/.exec(await site.operate("session", "list", "--user", user));
  assert.ok(found, "no session");
  return Number(found[1]) - 1;
}

test("nobody sees a drain", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  await open(a, bob);
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
  await a.evaluate(address => {
    const item = /** @type {Element} */ (document.querySelector(`li[aria-label^="${address}"]`)), seen = /** @type {string[]} */ ([]);
    Object.assign(window, { seen });
    new MutationObserver(() => { seen.push(item.getAttribute("aria-label") ?? ""); }).observe(item, { attributes: true });
  }, bob);
  const from = await nodeOf(bob);
  await site.operate("node", "drain", `n${from + 1}`);
  for (let i = 0; await nodeOf(bob) === from; i++) {
    assert.ok(i < 100, "bob's page has not moved");
    await new Promise(resolve => setTimeout(resolve, 200));
  }
  await send(a, "after the drain");
  await outcome(a, "after the drain", "delivered");
  const seen = await a.evaluate(() => /** @type {any} */ (window).seen);
  assert.deepEqual(seen.filter((/** @type {string} */ name) => /not listening|not known/.test(name)), []);
  await site.operate("node", "drain", "--undo", `n${from + 1}`);
  await a.context().close();
  await b.context().close();
});

test("a node's death makes no outcome wrong, no message double and no signature bad", async () => {
  const a = await visit(0, carol), b = await visit(1, bob); // carol's browser is her first, and signs
  await open(a, bob);
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
  await open(b, carol);
  const node = await nodeOf(bob);
  const count = 200, text = (/** @type {number} */ i) => `message-${i}.`;
  for (let i = 0; i < count; i++) {
    await send(a, text(i));
    if (i === count / 2) void site.kill(node);
  }
  const results = a.locator(".message.mine .result");
  await a.waitForFunction(n => {
    const all = [...document.querySelectorAll(".message.mine .result")];
    return all.length >= n && all.every(one => one.getAttribute("data-status") !== "0");
  }, count, { timeout: 60_000 });
  const outcomes = await results.evaluateAll(all => all.map(one => [one.closest(".message")?.querySelector(".text")?.textContent ?? "", one.getAttribute("data-status") ?? ""]));
  assert.equal(outcomes.length, count);
  await b.locator(".line").waitFor({ state: "hidden" });
  while (await b.getByRole("button", { name: "Show earlier messages" }).count()) await b.getByRole("button", { name: "Show earlier messages" }).click();
  const shown = await b.locator(".message:not(.mine) .text").allTextContents();
  const times = (/** @type {string} */ t) => shown.filter(one => one === t).length;
  for (const [t, status] of outcomes) {
    const n = times(t);
    if (status === "200") assert.equal(n, 1, `${t} is said to be delivered and is shown ${n} times`);
    else if (status === "201") assert.ok(n <= 1, `${t} is in doubt and is shown ${n} times`);
    else assert.equal(n, 0, `${t} is said not to be delivered (${status}) and is shown`);
  }
  assert.ok(outcomes.filter(([, status]) => status === "200").length > count / 2);
  const marks = await b.locator(".message:not(.mine) .mark").allTextContents();
  assert.deepEqual(marks.filter(word => word !== "signed" && word !== "not verified"), [], "honest messages");
  assert.ok(marks.filter(word => word === "signed").length > count / 3, `${marks.length} messages: ${[...new Set(marks)]}`);
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
  await send(a, "after the death");
  await outcome(a, "after the death", "delivered");
});

test("a page that is cut off says so, and claims nothing", async () => {
  const a = await visit(0, alice);
  await open(a, bob);
  for (const [i, node] of site.nodes.entries()) if (node.process.signalCode === null) await site.kill(i);
  await a.getByText("Not connected.").first().waitFor();
  await a.getByRole("listitem", { name: `${bob}, not known now` }).waitFor();
  await send(a, "to nobody");
  await outcome(a, "to nobody", "unreachable");
});
