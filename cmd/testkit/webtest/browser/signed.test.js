// @ts-check
// Signatures in a real browser: what is said of each message, and keys.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { Site, launch, look, open, openPage, outcome, send, signIn } from "./site.js";

const [alice, bob, carol, dave] = ["alice@example.com", "bob@example.com", "carol@example.com", "dave@example.com"];

const site = new Site();
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof openPage>>[]} */
let opened = [];

before(async () => {
  browser = await launch();
  await site.start(1);
});

after(async () => {
  await browser.close();
  await site.stop();
});

afterEach(async () => {
  const faults = opened.flatMap(one => one.faults);
  await Promise.all(opened.map(one => one.context.close()));
  opened = [];
  assert.deepEqual(faults, [], "violations of the policy, requests to other hosts, or errors");
});

/** visit signs in with a profile of its own. @param {string} user @param {import("playwright-core").BrowserContextOptions} [options] @param {() => void} [script] */
async function visit(user, options, script) {
  const one = await openPage(browser, site.nodes[0].page, options);
  opened.push(one);
  one.page.setDefaultTimeout(15_000);
  if (script) {
    await one.context.addInitScript(script);
    await one.page.reload();
  }
  await signIn(one.page, user);
  await one.page.getByRole("list", { name: "Contacts" }).waitFor({ state: "attached" });
  return one.page;
}

/** settings opens the settings, and waits for the keys. @param {import("playwright-core").Page} page */
async function settings(page) {
  await page.getByRole("button", { name: "Settings" }).click();
  const dialog = page.getByRole("dialog", { name: "Settings" });
  await dialog.getByText(/vouch/).first().waitFor();
  return dialog;
}

const close = (/** @type {import("playwright-core").Page} */ page) => page.getByRole("button", { name: "Close" }).click();
const mark = (/** @type {import("playwright-core").Page} */ page, /** @type {string} */ text) => page.locator(".message", { hasText: text }).locator(".mark");

test("messages are signed, keys compared, new keys shown, vouched for and revoked", async () => {
  const a = await visit(alice), b = await visit(bob);
  await open(a, bob);
  await open(b, alice);
  await send(b, "from the first browser");
  await outcome(b, "from the first browser", "delivered");
  assert.equal(await mark(b, "from the first browser").innerText(), "signed");
  assert.equal(await mark(a, "from the first browser").innerText(), "signed");

  await a.getByRole("button", { name: "Keys", exact: true }).click();
  const keys = a.getByRole("dialog", { name: `Keys of ${bob}` });
  const his = await keys.getByRole("listitem").locator("code").innerText();
  const bobs = await settings(b);
  assert.equal(await bobs.getByRole("listitem").filter({ hasText: "this browser" }).locator("code").innerText(), his);
  await close(b);
  await keys.getByRole("button", { name: "Mark as verified" }).click();
  await keys.getByText("web chat, verified").waitFor();
  await close(a);
  await send(b, "after the comparison");
  await outcome(b, "after the comparison", "delivered");
  assert.equal(await mark(a, "after the comparison").innerText(), "signed, verified");

  // another browser of bob's, whose key is added without the first
  const second = await visit(bob);
  await second.getByText("Your messages are not signed: other devices of yours have keys").first().waitFor();
  await (await settings(second)).getByRole("button", { name: "Add this browser's key" }).click();
  await second.getByRole("dialog").getByText("web chat, this browser").waitFor();
  await close(second);
  await a.getByText(`The keys of ${bob} have changed.`).first().waitFor();
  await b.getByText("Your list of keys has changed").first().waitFor();
  await open(second, alice);
  await send(second, "from the second browser");
  await outcome(second, "from the second browser", "delivered");
  assert.match(await mark(a, "from the second browser").innerText(), /^signed with a new key, ([0-9a-z]{4}-){4}[0-9a-z]{4}$/);
  await a.locator(".message", { hasText: "from the second browser" }).getByRole("button", { name: "Compare keys" }).click();
  await a.getByRole("dialog", { name: `Keys of ${bob}` }).waitFor();
  await close(a);

  // a third one, for which the first vouches
  const third = await visit(bob), code = await (await settings(third)).locator("code", { hasText: /^key:/ }).innerText();
  await close(third);
  const dialog = await settings(b);
  await dialog.getByLabel("Code of the new device").fill(code);
  await dialog.getByLabel("Name for it").fill("office");
  await dialog.getByRole("button", { name: "Vouch" }).click();
  await dialog.getByText("office, an older device vouches for it").waitFor();
  await third.getByText("Your messages are signed from now on.").first().waitFor();
  await open(third, alice);
  await send(third, "from the third browser");
  await outcome(third, "from the third browser", "delivered");
  assert.equal(await mark(a, "from the third browser").innerText(), "signed");

  // the third one is lost
  await dialog.getByRole("listitem").filter({ hasText: "office" }).getByRole("button", { name: "Revoke" }).click();
  await dialog.getByRole("button", { name: "Really revoke" }).click();
  await dialog.getByText("office, revoked").waitFor();
  await third.getByText("the key of this browser was revoked").first().waitFor();
  await send(third, "from the lost browser");
  await outcome(third, "from the lost browser", "delivered");
  assert.equal(await mark(a, "from the lost browser").innerText(), "unsigned");
});

test("a terminal and a browser verify each other", async () => {
  await site.run(carol, "key", "add", "laptop");
  const a = await visit(alice);
  await open(a, carol);
  await site.run(carol, "send", "--sign", alice, "from a terminal");
  assert.equal(await mark(a, "from a terminal").innerText(), "signed");
  const listener = site.simp(0, carol, "listen");
  let said = "";
  const heard = new Promise(resolve => listener.stdout.on("data", data => { if ((said += data).includes("from a browser")) resolve(undefined); }));
  await a.getByRole("listitem", { name: `${carol}, available` }).waitFor();
  if (await a.getByText("Your messages are not signed").count()) {
    await (await settings(a)).getByRole("button", { name: "Add this browser's key" }).click();
    await a.getByRole("dialog").getByText("this browser").first().waitFor();
    await close(a);
  }
  await send(a, "from a browser");
  await outcome(a, "from a browser", "delivered");
  await heard;
  listener.kill();
  assert.match(said, /\(signed\).*from a browser/s);
});

test("a forged message is bad, and its text is shown only on request", async () => {
  const a = await visit(alice), mallory = await site.listenAs(0, dave);
  await open(a, dave);
  const entity = "SIMP-Signature: e30..AAAA\r\n\r\nsend me your password";
  assert.equal(await mallory.status(`9 SEND to=${alice} {${entity.length}}\r\n${entity}`), 200);
  assert.equal(await a.locator(".message .mark").innerText(), "bad signature");
  await a.getByText("The signature does not have the right form, or is not first.").waitFor();
  assert.ok(!(await a.content()).includes("send me your password"));
  await a.getByRole("button", { name: "Show the text" }).click();
  await a.getByText("send me your password").waitFor();
  mallory.end();
});

test("a browser without Ed25519 says so", async () => {
  const a = await visit(dave, undefined, () => {
    for (const name of /** @type {const} */ (["generateKey", "importKey"])) {
      const original = /** @type {any} */ (crypto.subtle[name]).bind(crypto.subtle);
      Object.defineProperty(crypto.subtle, name, { value: (/** @type {any[]} */ ...args) => args.includes("Ed25519") ? Promise.reject(new DOMException("missing", "NotSupportedError")) : original(...args) });
    }
  });
  await a.getByText("this browser lacks Ed25519, and cannot verify signatures either").first().waitFor();
  await open(a, carol);
  await site.run(carol, "send", "--sign", dave, "signed all the same");
  assert.equal(await mark(a, "signed all the same").innerText(), "not verified");
});

for (const [width, colorScheme] of /** @type {const} */ ([[320, "light"], [768, "dark"], [1280, "light"]])) {
  test(`axe-core finds nothing in what is said of keys at ${width} pixels, ${colorScheme}`, async () => {
    const a = await visit(alice, { viewport: { width, height: 640 }, colorScheme, reducedMotion: "reduce", bypassCSP: true }), mallory = await site.listenAs(0, dave);
    await open(a, bob);
    await a.getByRole("button", { name: "Keys", exact: true }).click();
    await a.getByRole("dialog").waitFor();
    await look(a, "keys");
    await close(a);
    if (await a.getByRole("button", { name: "Back" }).isVisible()) await a.getByRole("button", { name: "Back" }).click();
    const dialog = await settings(a);
    await dialog.getByText("Keys of your devices").scrollIntoViewIfNeeded();
    await look(a, "own keys");
    await close(a);
    if (await a.getByRole("button", { name: "Back" }).isVisible()) await a.getByRole("button", { name: "Back" }).click();
    await open(a, dave);
    const entity = "SIMP-Signature: e30..AAAA\r\n\r\nsend me your password";
    await mallory.status(`9 SEND to=${alice} {${entity.length}}\r\n${entity}`);
    await a.locator(".mark[data-state=bad]").waitFor();
    await look(a, "bad signature");
    mallory.end();
  });
}
