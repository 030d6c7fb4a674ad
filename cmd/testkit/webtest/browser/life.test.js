// @ts-check
// A page that is frozen, and one that is hidden for long.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { Site, launch, launchPlain, open, openPage, outcome, send, signIn } from "./site.js";

const [alice, bob] = ["alice@example.com", "bob@example.com"];

const site = new Site();
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {import("playwright-core").Page} alice's page, which sees whether bob listens */
let a;
/** @type {Awaited<ReturnType<typeof launchPlain>>} bob's browser */
let bobs;

before(async () => {
  browser = await launch();
  await site.start(1);
});

after(async () => {
  await browser.close();
  await site.stop();
});

beforeEach(async () => {
  a = (await openPage(browser, site.nodes[0].page)).page;
  bobs = await launchPlain();
  await bobs.page.goto(site.nodes[0].page);
  for (const [page, user] of /** @type {const} */ ([[a, alice], [bobs.page, bob]])) {
    page.setDefaultTimeout(30_000);
    await signIn(page, user);
    await page.getByRole("button", { name: "Sign out" }).waitFor();
  }
  await open(a, bob);
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
});

afterEach(async () => {
  await bobs.stop();
  await a.context().close();
});

/** setState freezes a page, which hides it first, or thaws it, which leaves it hidden. @param {"frozen" | "active"} state */
const setState = state => bobs.session.send("Page.setWebLifecycleState", { state });

test("a page that is frozen stops listening first, and listens again afterwards", async () => {
  await setState("frozen");
  await a.getByRole("listitem", { name: `${bob}, not listening` }).waitFor();
  await send(a, "to a frozen page");
  await outcome(a, "to a frozen page", "not listening");
  await setState("active");
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
  await send(a, "to a page that is awake");
  await outcome(a, "to a page that is awake", "delivered");
});

test("a page that is hidden for 15 minutes keeps listening", async () => {
  const { page, session } = bobs, minutes = 15, step = 10_000;
  await setState("frozen");
  await a.getByRole("listitem", { name: `${bob}, not listening` }).waitFor();
  await setState("active");
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
  assert.equal(await page.evaluate(() => document.visibilityState), "hidden");
  await a.evaluate(address => {
    const item = /** @type {Element} */ (document.querySelector(`li[aria-label^="${address}"]`)), seen = /** @type {string[]} */ ([]);
    Object.assign(window, { seen });
    new MutationObserver(() => { seen.push(item.getAttribute("aria-label") ?? ""); }).observe(item, { attributes: true });
  }, bob);
  let sockets = 0;
  page.on("websocket", () => { sockets++; });
  const start = await page.evaluate(() => Date.now());
  for (let passed = 0; passed < minutes * 60_000; passed += step) { // the page's clock and timers, not the server's
    const done = new Promise(resolve => session.once("Emulation.virtualTimeBudgetExpired", resolve));
    await session.send("Emulation.setVirtualTimePolicy", { policy: "advance", budget: step });
    await done;
  }
  assert.ok(await page.evaluate(t => Date.now() - t, start) >= minutes * 60_000);
  assert.equal(await page.evaluate(() => document.visibilityState), "hidden");
  assert.deepEqual([sockets, await a.evaluate(() => /** @type {any} */ (window).seen)], [0, []], "it has connected again, or was seen as gone");
  await send(a, "to a hidden page");
  await outcome(a, "to a hidden page", "delivered");
});
