// @ts-check
// The web chat in a real browser, on a site of three real nodes.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, afterEach, before, test } from "node:test";
import { Site, check, launch, look, open, openPage, outcome, send, signIn } from "./site.js";

const [alice, bob, carol] = ["alice@example.com", "bob@example.com", "carol@example.com"];

const site = new Site();
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof openPage>>[]} */
let opened = [];

before(async () => {
  browser = await launch();
  await site.start();
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

/** visit opens the page at a node, and signs in if a user is given. @param {number} node @param {string} [user] @param {import("playwright-core").BrowserContextOptions} [options] */
async function visit(node, user, options) {
  const one = await openPage(browser, site.nodes[node].page, options);
  opened.push(one);
  one.page.setDefaultTimeout(15_000);
  if (user) {
    await signIn(one.page, user);
    await one.page.getByRole("list", { name: "Contacts" }).waitFor({ state: "attached" });
  }
  return one.page;
}

/** said waits until the page has announced something. @param {import("playwright-core").Page} page @param {string} text */
const said = (page, text) => page.locator("#said", { hasText: text }).waitFor({ state: "attached" });

test("two browsers on two nodes exchange messages and see each other", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  await open(a, bob);
  await a.getByRole("listitem", { name: `${bob}, available, 0 unread` }).waitFor();
  await send(a, "hello bob");
  await outcome(a, "hello bob", "delivered");
  await said(a, `delivered to ${bob}`);
  await b.getByRole("listitem", { name: new RegExp(`^${alice}, .*, 1 unread`) }).waitFor();
  await open(b, alice);
  await b.getByText("hello bob").waitFor();
  await b.getByText("New messages").waitFor();
  await b.getByRole("listitem", { name: /0 unread/ }).waitFor();
  await send(b, "hello alice");
  await outcome(b, "hello alice", "delivered");
  await b.getByLabel("Your state").selectOption("busy");
  await b.getByLabel("Your note").fill("in a meeting");
  await b.getByLabel("Your note").press("Enter");
  await a.getByRole("listitem", { name: `${bob}, busy` }).waitFor();
  await a.getByText("busy, in a meeting").waitFor();
  await b.getByLabel("Your state").selectOption("deaf");
  await a.getByRole("listitem", { name: `${bob}, not listening` }).waitFor();
});

test("an invitation creates an account, once", async () => {
  const { link, code } = JSON.parse(await site.operate("invite", "--contact", alice, "--output", "json"));
  assert.equal(link, `${site.nodes[0].page}#join=${code}`);
  const a = await visit(0);
  await a.goto(link);
  const form = a.getByRole("form", { name: "Create account" });
  await check(a, "the form for a new account");
  assert.ok(!a.url().includes(code), "the code stays in the address bar");
  const fill = async (/** @type {string} */ address, /** @type {string} */ first, /** @type {string} */ second) => {
    await form.getByRole("textbox", { name: "Address" }).fill(address);
    await form.getByLabel("Password", { exact: true }).fill(first);
    await form.getByLabel("Password again").fill(second);
    await form.getByRole("button", { name: "Create account" }).click();
  };
  await fill("erin@example.com", "a good one", "another");
  await a.getByText("The two passwords differ.").waitFor();
  await fill(bob, "a good one", "a good one");
  await a.getByText(`${bob} has an account already`).waitFor();
  await fill("erin@example.com", "a good one", "a good one");
  await a.getByRole("listitem", { name: new RegExp(`^${alice}, `) }).waitFor();
  await a.getByRole("heading", { name: "erin@example.com" }).waitFor();

  const b = await visit(1);
  await b.goto(`${site.nodes[1].page}#join=${code}`);
  const again = b.getByRole("form", { name: "Create account" });
  await again.getByRole("textbox", { name: "Address" }).fill("frank@example.com");
  await again.getByLabel("Password", { exact: true }).fill("x");
  await again.getByLabel("Password again").fill("x");
  await again.getByRole("button", { name: "Create account" }).click();
  await b.getByText("was used already").waitFor();
  await b.getByRole("button", { name: "I have an account" }).click();
  await b.getByRole("form", { name: "Sign in" }).waitFor();
});

test("all roles and names of the contract are there", async () => {
  const a = await visit(0);
  assert.equal(await a.locator("html").getAttribute("lang"), "en");
  const form = a.getByRole("form", { name: "Sign in" });
  await form.getByRole("textbox", { name: "Address" }).waitFor();
  await form.getByLabel("Password").waitFor();
  await form.getByRole("button", { name: "Sign in" }).waitFor();
  await signIn(a, alice);
  await open(a, bob);
  await a.getByRole("list", { name: "Contacts" }).waitFor();
  await a.getByRole("log", { name: `Messages with ${bob}` }).waitFor();
  await a.getByRole("textbox", { name: "Message" }).waitFor();
  for (const name of ["Send", "Add contact", "Block", "Settings", "Sign out"]) await a.getByRole("button", { name, exact: true }).waitFor();
  await a.getByRole("button", { name: "Sign out" }).click();
  await a.getByRole("form", { name: "Sign in" }).waitFor();
});

test("a page that is not secure says so and offers no login", async () => {
  const one = await openPage(browser, site.nodes[0].page.replace("127.0.0.1", "chat.test"));
  opened.push(one);
  await one.page.getByText("not loaded over a secure connection").waitFor();
  assert.equal(await one.page.getByRole("form").count(), 0);
  assert.equal(await one.page.getByLabel("Password").count(), 0);
});

test("a wrong password is said, and another attempt works", async () => {
  const a = await visit(0);
  await signIn(a, alice, "wrong");
  await a.getByText("The address or the password is wrong.").waitFor();
  await signIn(a, alice);
  await a.getByRole("button", { name: "Sign out" }).waitFor();
});

test("who does not listen can be waited for", async () => {
  const a = await visit(0, alice);
  await open(a, carol);
  await send(a, "are you there?");
  await outcome(a, "are you there?", "not listening");
  await said(a, `not delivered to ${carol}: not listening`);
  await a.getByRole("button", { name: "Tell me when they listen" }).click();
  await a.getByText("You will be told").waitFor();
  const c = await visit(1, carol);
  await said(a, `${carol} is available`);
  await c.getByRole("button", { name: "Sign out" }).click();
  await a.getByRole("listitem", { name: `${carol}, not listening` }).waitFor();
});

test("a refused message says so", async () => {
  const a = await visit(0, alice), c = await site.listenAs(1, carol);
  const message = c.message();
  await open(a, carol);
  await send(a, "do you take this?");
  c.answer(await message, 486);
  await outcome(a, "do you take this?", "refused");
  c.end();
});

test("an outcome is announced where it is heard, in a dialog or behind none", async () => {
  const a = await visit(0, alice);
  const heard = (/** @type {string} */ where) => a.locator(`${where} > #said`, { hasText: `delivered to ${carol}` }).waitFor({ state: "attached" });
  await open(a, carol);
  let c = await site.listenAs(1, carol), message = c.message();
  await send(a, "behind a dialog");
  const tag = await message;
  await a.getByRole("button", { name: "Settings" }).click();
  c.answer(tag, 200);
  await heard("dialog");
  await a.getByRole("button", { name: "Close" }).click();
  c.end();
  c = await site.listenAs(1, carol);
  message = c.message();
  await send(a, "and without one");
  c.answer(await message, 200);
  await heard("body");
  c.end();
});

test("a message in doubt is repeated only when told to, under its id", async () => {
  const a = await visit(0, alice), c = await site.listenAs(1, carol);
  const message = c.message();
  await open(a, carol);
  await send(a, "do you hear me?");
  const tag = await message;
  await outcome(a, "do you hear me?", "in doubt");
  await said(a, `in doubt, ${carol}`);
  await a.getByRole("button", { name: "Try again" }).click();
  await outcome(a, "do you hear me?", "sending");
  c.answer(tag, 200); // the one answer serves both, as the id is the same
  await outcome(a, "do you hear me?", "delivered");
  c.end();
});

test("a page that is merely hidden keeps listening, and marks what came meanwhile", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  await open(a, bob);
  await open(b, alice);
  const show = (/** @type {string} */ state) => b.evaluate(value => {
    Object.defineProperty(document, "visibilityState", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);
  await show("hidden");
  await send(a, "while you were away");
  await outcome(a, "while you were away", "delivered");
  await b.getByRole("listitem", { name: /1 unread/ }).waitFor();
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
  await show("visible");
  await b.getByRole("listitem", { name: /0 unread/ }).waitFor();
  await b.getByText("New messages").waitFor();
});

test("a message is notified of, if the user wants that", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  await a.evaluate(() => {
    const notes = /** @type {string[]} */ ([]);
    Object.assign(window, { notes, Notification: class {
      static permission = "granted";
      static requestPermission() { return Promise.resolve("granted"); }
      constructor(/** @type {string} */ title) { notes.push(title); }
    } });
  });
  await a.getByRole("button", { name: "Settings" }).click();
  await a.getByLabel("Notify me").check();
  await a.getByRole("button", { name: "Close" }).click();
  await open(b, alice);
  await send(b, "look here");
  await outcome(b, "look here", "delivered");
  await a.waitForFunction(() => /** @type {any} */ (window).notes.length > 0);
  assert.deepEqual(await a.evaluate(() => /** @type {any} */ (window).notes), [`Message from ${bob}`]);
});

test("an unknown user is said to be none", async () => {
  const a = await visit(0, alice);
  await open(a, "nobody");
  await send(a, "hello?");
  await outcome(a, "hello?", "no such user");
  assert.equal(await a.getByRole("button", { name: "Tell me when they listen" }).count(), 0);
});

test("a terminal and a browser exchange messages", async () => {
  const a = await visit(2, alice);
  const sender = site.simp(0, bob, "send", alice, "from a terminal");
  const [code] = await once(sender, "exit");
  assert.equal(code, 0);
  await open(a, bob);
  await a.getByText("from a terminal").waitFor();
});

test("who is blocked is told that nobody listens", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  await open(a, bob);
  await open(b, alice);
  await b.getByRole("button", { name: "Block", exact: true }).click();
  await b.getByRole("dialog", { name: "Block" }).getByRole("button", { name: "Block this address" }).click();
  await b.getByRole("button", { name: "Unblock" }).waitFor();
  await a.getByRole("listitem", { name: `${bob}, not listening` }).waitFor();
  await send(a, "let me in");
  await outcome(a, "let me in", "not listening");
  await b.getByRole("button", { name: "Unblock" }).click();
  await b.getByRole("button", { name: "Block", exact: true }).waitFor();
  await a.getByRole("listitem", { name: `${bob}, available` }).waitFor();
});

test("a message is reported, where the site takes reports", async () => {
  const a = await visit(0, alice, { bypassCSP: true }), b = await visit(1, bob), c = await site.listenAs(0, carol), offered = await c.status(`9 REPORT ima=${bob} reason=other`) === 200;
  c.end();
  await open(b, alice);
  await send(b, "buy now");
  await outcome(b, "buy now", "delivered");
  await open(a, bob);
  await a.getByRole("button", { name: "Report" }).click();
  const dialog = a.getByRole("dialog", { name: "Report" });
  await dialog.getByLabel("Reason").selectOption("abuse");
  await look(a, "Report");
  await dialog.getByRole("button", { name: "Send report" }).click();
  await said(a, offered ? "The report was sent." : "This site takes no reports.");
});

test("a message to several shows each outcome", async () => {
  const a = await visit(0, alice);
  await visit(1, bob);
  await a.getByRole("button", { name: "Write to several" }).click();
  const dialog = a.getByRole("dialog", { name: "Write to several" });
  await dialog.getByLabel("Addresses").fill("bob, carol@example.com");
  await dialog.getByRole("button", { name: "Write", exact: true }).click();
  await send(a, "to both");
  await outcome(a, "to both", `${bob}: delivered`);
  await outcome(a, "to both", `${carol}: not listening`);
});

test("a hostile text changes nothing outside its message", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  await open(a, bob);
  await send(a, "<img src=x onerror=alert(1)><b>bold</b> \u202egnp.exe \u0007 https://example.org/x?y=1. javascript:alert(1)");
  await outcome(a, "gnp.exe", "delivered");
  await open(b, alice);
  const text = b.locator(".message .text").last();
  assert.equal(await text.innerText(), "<img src=x onerror=alert(1)><b>bold</b> \u27e8U+202E\u27e9gnp.exe \u27e8U+0007\u27e9 https://example.org/x?y=1. javascript:alert(1)");
  assert.equal(await text.locator("a").count(), 1);
  assert.equal(await text.locator("a").getAttribute("rel"), "noopener noreferrer nofollow");
  await send(a, `${"long line ".repeat(800)}\n${"x".repeat(2000)}`);
  await b.getByRole("button", { name: "Show all" }).click();
  assert.ok(await b.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page scrolls sideways");
});

test("two tabs share one connection, and the second goes on when the first is closed", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  const sockets = [0];
  const second = await a.context().newPage();
  second.on("websocket", () => { sockets[0]++; });
  await second.goto(site.nodes[0].page);
  await second.getByRole("button", { name: "Sign out" }).waitFor();
  assert.equal(sockets[0], 0, "the second tab has a connection of its own");
  await open(second, bob);
  await send(second, "from the second tab");
  await outcome(second, "from the second tab", "delivered");
  await open(a, bob);
  await a.getByText("from the second tab").waitFor();
  await a.close();
  await open(b, alice);
  await b.getByRole("listitem", { name: `${alice}, available` }).waitFor();
  await send(second, "still here");
  await outcome(second, "still here", "delivered");
  assert.equal(sockets[0], 1);
});

test("messages are kept only if the user wants that, and until they are deleted", async () => {
  const a = await visit(0, alice);
  await visit(1, bob);
  await open(a, bob);
  await send(a, "to be kept");
  await outcome(a, "to be kept", "delivered");
  await a.getByRole("button", { name: "Settings" }).click();
  await a.getByLabel("Keep messages in this browser").check();
  await a.getByRole("button", { name: "Close" }).click();
  await send(a, "kept too");
  await outcome(a, "kept too", "delivered");
  await a.reload();
  await signIn(a, alice);
  await open(a, bob);
  await a.getByText("to be kept").waitFor();
  await outcome(a, "kept too", "delivered");
  await a.getByRole("button", { name: "Settings" }).click();
  await a.getByRole("button", { name: "Delete kept messages" }).click();
  await a.getByText("Deleted.").waitFor();
  await a.reload();
  await signIn(a, alice);
  await open(a, bob);
  await a.getByText("No messages yet.").waitFor();
});

test("a browser stays signed in with an app password, where the server has them", async () => {
  const c = await site.listenAs(0, carol), offered = await c.status("9 APP") === 200;
  c.end();
  const a = await visit(0, alice);
  await open(a, bob);
  await a.getByRole("button", { name: "Settings" }).click();
  const stay = a.getByRole("dialog").getByRole("button", { name: "Stay signed in" });
  if (!offered) return assert.equal(await stay.count(), 0);
  await stay.click();
  await a.getByText("This browser stays signed in").waitFor();
  await a.reload();
  await a.getByRole("button", { name: "Sign out" }).click();
  await a.getByRole("form", { name: "Sign in" }).waitFor();
  await a.reload();
  await a.getByRole("form", { name: "Sign in" }).waitFor();
});

test("who sees me is shown", async () => {
  const a = await visit(0, alice), b = await visit(1, bob);
  await open(a, bob);
  await b.getByRole("button", { name: "Settings" }).click();
  await b.getByRole("button", { name: "Show who watches me now" }).click();
  await b.getByRole("dialog").getByText(alice).waitFor();
});

test("everything works by keyboard", async () => {
  await visit(1, bob);
  const a = await visit(0);
  await a.getByLabel("Address").focus();
  await a.keyboard.type(alice);
  await a.keyboard.press("Tab");
  await a.keyboard.type("secret");
  await a.keyboard.press("Enter");
  const item = a.getByRole("listitem", { name: bob }).getByRole("button");
  await item.waitFor();
  const reached = () => item.evaluate(button => button === document.activeElement);
  for (let i = 0; i < 20 && !await reached(); i++) await a.keyboard.press("Tab");
  await a.keyboard.press("Enter");
  await a.keyboard.type("by keyboard");
  await a.keyboard.press("Enter");
  await outcome(a, "by keyboard", "delivered");
  await a.keyboard.press("Shift+Tab");
  assert.equal(await a.evaluate(() => document.activeElement?.getAttribute("role")), "log");
});

for (const [width, colorScheme] of /** @type {const} */ ([[320, "light"], [768, "dark"], [1280, "light"], [1280, "dark"]])) {
  test(`axe-core finds nothing at ${width} pixels, ${colorScheme}`, async () => {
    const a = await visit(0, undefined, { viewport: { width, height: 640 }, colorScheme, reducedMotion: "reduce", bypassCSP: true });
    await visit(1, bob);
    await look(a, "signing-in");
    await signIn(a, alice, "wrong");
    await a.getByText("The address or the password is wrong.").waitFor();
    await look(a, "refused");
    await signIn(a, alice);
    await a.getByRole("button", { name: "Settings" }).waitFor();
    await look(a, "contacts");
    for (const name of ["Settings", "Add contact", "Write to several"]) {
      await a.getByRole("button", { name, exact: true }).click();
      if (name === "Settings") await a.getByRole("button", { name: "Show who watches me now" }).click();
      await look(a, name.replaceAll(" ", "-"));
      await a.getByRole("button", { name: "Close" }).click();
    }
    await open(a, bob);
    for (const text of ["good morning", "A longer message, which says more than one line has room for, and names https://example.com/a/page to read."]) {
      await send(a, text);
      await outcome(a, text, "delivered");
    }
    if (await a.getByRole("button", { name: "Back" }).isVisible()) await a.getByRole("button", { name: "Back" }).click();
    await open(a, carol);
    await send(a, "hello carol");
    await outcome(a, "hello carol", "not listening");
    await look(a, "not-listening");
    await a.getByRole("button", { name: "Block", exact: true }).click();
    await look(a, "Block");
    await a.getByRole("button", { name: "Close" }).click();
    if (await a.getByRole("button", { name: "Back" }).isVisible()) await a.getByRole("button", { name: "Back" }).click();
    await open(a, bob);
    await look(a, "conversation");
  });
}

test("10,000 messages do not slow the page down", async () => {
  const a = await visit(0, alice);
  await open(a, bob);
  const { few, many, rows } = await a.evaluate(async key => {
    const { newModel, apply } = await import(/** @type {any} */ ("/engine.js"));
    const { Talk } = await import(/** @type {any} */ ("/app.js"));
    let rows = 0;
    // measure returns the least time that ten messages take after so many
    const measure = (/** @type {number} */ before) => {
      const model = newModel();
      const add = (/** @type {number} */ i) => apply(model, { t: "message", key, to: [key], m: { id: String(i), from: key, mine: false, text: `message ${i}`, time: 1e12 + 1000 * i, results: [] } });
      for (let i = 0; i < before; i++) add(i);
      const talk = new Talk(key, model.conversations[key], async () => {}, () => [], () => {});
      talk.marker = -1;
      document.querySelector("main")?.append(talk.log);
      talk.scrollToEnd();
      let least = Infinity;
      for (let i = before; i < before + 500; i += 10) {
        const began = performance.now();
        for (let j = 0; j < 10; j++) {
          add(i + j);
          talk.append();
        }
        least = Math.min(least, performance.now() - began);
      }
      rows = talk.log.childElementCount;
      talk.log.remove();
      return least;
    };
    measure(1); // so that all is compiled
    return { few: measure(1), many: measure(10_000), rows };
  }, bob);
  assert.ok(many < 4 * few + 10, `ten messages take ${many} ms after 10,000 others, and ${few} ms at first`);
  assert.ok(rows < 500, `${rows} rows`);
});
