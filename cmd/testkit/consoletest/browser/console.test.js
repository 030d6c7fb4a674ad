// @ts-check
// The operators' console in a real browser, on a site of three real nodes. Each
// node has its console at an address of its own, so that cookies do not follow
// from one to another.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { Site, launch, users } from "../../webtest/browser/site.js";

/** @typedef {Awaited<ReturnType<typeof launch>>} Browser */
/** @typedef {NonNullable<Parameters<Browser["newContext"]>[0]>} Options */
/** @typedef {Awaited<ReturnType<Browser["newContext"]>>} Context */
/** @typedef {Awaited<ReturnType<Context["newPage"]>>} Page */
/** @typedef {ReturnType<Page["locator"]>} Locator */

const axe = readFileSync(createRequire(new URL("../../webtest/browser/site.js", import.meta.url)).resolve("axe-core/axe.min.js"), "utf8");
const [alice, bob, carol] = users;
const images = process.env.IMAGES;

const site = new Site();
/** @type {string[]} the consoles of the nodes */
const consoles = [];
/** @type {Browser} */
let browser;
/** @type {{ context: Context, faults: string[] }[]} */
let opened = [];

before(async () => {
  browser = await launch();
  const server = createServer().listen(0, "0.0.0.0");
  await once(server, "listening");
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  await once(server.close(), "close");
  for (const node of [1, 2, 3]) consoles.push(`127.0.0.${node}:${port}`);
  await site.start(3, `--console-listen=127.0.0.NODE:${port}`);
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

// What Chromium calls errors, and is none here: nodes that were killed, and answers that refuse.
const harmless = /ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED|status of (400|401|403|404|409|503)/;

/** context makes a browser of somebody, and notes what must not happen. @param {Options} [options] */
async function somebody(options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1120, height: 800 }, ...options });
  /** @type {string[]} */
  const faults = [];
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", event => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  context.on("request", request => {
    if (!consoles.includes(new URL(request.url()).host)) faults.push(`request to ${request.url()}`);
  });
  context.on("console", message => {
    if (message.type() === "error" && !harmless.test(message.text())) faults.push(message.text());
  });
  context.on("weberror", error => { faults.push(String(error.error().stack)); });
  opened.push({ context, faults });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  return page;
}

/** link returns the link that simpctl console prints. @param {number} node */
const link = async node => (await site.operate("console", "--node", `n${node + 1}`)).split("\n")[0];

/** signIn opens the console of a node. @param {number} node @param {Options} [options] */
async function signIn(node, options) {
  const page = await somebody(options);
  await page.goto(await link(node));
  await page.waitForURL(`http://${consoles[node]}/`);
  await page.getByRole("heading", { name: "Site", exact: true }).waitFor();
  return page;
}

/** open opens a page by its link. @param {Page} page @param {string} name */
async function open(page, name) {
  await page.getByRole("navigation").getByRole("link", { name, exact: true }).click();
  await page.getByRole("heading", { name, exact: true, level: 2 }).waitFor();
}

/** openUser opens the page of a user. @param {Page} page @param {string} user */
async function openUser(page, user) {
  await open(page, "Users");
  await page.getByLabel("Address starts with").fill(user);
  await page.getByRole("link", { name: user }).click();
  await page.getByRole("heading", { name: user, level: 2 }).waitFor();
}

/** check has axe-core look for violations of WCAG 2.1 A and AA, and looks for what is wider than the window. @param {Page} page @param {string} what */
async function check(page, what) {
  await page.evaluate(source => { (0, eval)(source); }, axe).catch(() => page.addScriptTag({ content: axe }));
  const result = await page.evaluate(() => /** @type {any} */ (window).axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"] }));
  assert.deepEqual(result.violations.map((/** @type {any} */ v) => `${v.id}: ${v.nodes.map((/** @type {any} */ n) => n.html).join(" ")}`), [], what);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${what} is wider than the window`);
}

/** shoot takes a picture for the handbook. @param {Page} page @param {string} name */
async function shoot(page, name) {
  if (!images) return;
  mkdirSync(images, { recursive: true });
  await page.screenshot({ path: join(images, `console-${name}.png`), animations: "disabled", scale: "css" });
}

/**
 * act presses a button, looks at what it will do, and has it done.
 * @param {Page} page @param {Locator} button @param {string} command @param {string} confirm
 */
async function act(page, button, command, confirm) {
  await button.click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText(command, { exact: true }).waitFor();
  await dialog.getByRole("button", { name: confirm, exact: true }).click();
  await dialog.waitFor({ state: "detached" });
}

/** simp runs a person's client to its end. @param {string} user @param {...string} args */
function simp(user, ...args) {
  const { status, stderr, stdout } = spawnSync(join(process.env.BIN ?? "bin", "simp"), ["--plaintext", "--server", `127.0.0.1:${site.nodes[0].simp}`, "--user", user, ...args],
    { env: { ...process.env, SIMP_PASSWORD: "secret", XDG_CONFIG_HOME: join(site.dir, "config"), XDG_STATE_HOME: join(site.dir, "state"), XDG_DATA_HOME: join(site.dir, "data") } });
  assert.equal(status, 0, String(stderr));
  return String(stdout);
}

test("a link signs in once, and whoever has none is told how", async () => {
  const page = await somebody();
  const refused = await page.goto(`http://${consoles[0]}/`);
  assert.equal(refused?.status(), 401);
  await page.getByText("simpctl console").waitFor();
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  await check(page, "the page without a session");
  const once = await link(0);
  await page.goto(once);
  await page.waitForURL(`http://${consoles[0]}/`);
  await page.getByText("Healthy").first().waitFor();
  const cookie = (await page.context().cookies()).find(one => one.name === "__Host-simp-console");
  assert.ok(cookie?.httpOnly && cookie.secure && cookie.sameSite === "Strict", JSON.stringify(cookie));
  assert.equal(await page.evaluate(() => document.cookie), "");
  const other = await somebody();
  await other.goto(once);
  await other.getByText("This link was used already").waitFor();
  await check(other, "a link that was used");
});

test("every page is accessible, in both colours and at 320 px", async () => {
  const talk = await site.listenAs(1, bob);
  for (const [colorScheme, width] of /** @type {const} */ ([["light", 1120], ["dark", 1120], ["light", 320], ["dark", 320]])) {
    const page = await signIn(0, { colorScheme, viewport: { width, height: 800 }, reducedMotion: width === 320 ? "reduce" : "no-preference" });
    for (const name of ["Site", "Users", "Other sites", "Presence", "Messages", "Abuse", "Audit"]) {
      await open(page, name);
      await page.waitForTimeout(900); // until it shows what there is
      await check(page, `${name}, ${colorScheme}, ${width} px`);
    }
    await openUser(page, bob);
    await page.getByRole("heading", { name: "Sessions" }).waitFor();
    await check(page, `a user, ${colorScheme}, ${width} px`);
    await page.getByRole("button", { name: "Disable" }).click();
    await check(page, `a dialog, ${colorScheme}, ${width} px`);
    await page.getByRole("button", { name: "Cancel" }).click();
  }
  talk.end();
});

test("all can be done by keyboard", async () => {
  const page = await signIn(0);
  const card = page.getByRole("listitem", { name: "Node n3" });
  await card.waitFor();
  for (let i = 0; !await card.getByRole("button", { name: "Drain" }).evaluate(e => e === document.activeElement); i++) {
    assert.ok(i < 40, "the button is not reached");
    await page.keyboard.press("Tab");
  }
  await page.waitForTimeout(1500); // numbers change; the focus stays
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Drain n3" });
  await dialog.waitFor();
  assert.ok(await dialog.getByRole("button", { name: "Drain n3" }).evaluate(e => e === document.activeElement), "the dialog has the focus");
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.ok(await card.getByRole("button", { name: "Drain" }).evaluate(e => e === document.activeElement), "the button has it again");
});

test("the site: drain, undrain, and another leader", async () => {
  const page = await signIn(0);
  const card = (/** @type {string} */ node) => page.getByRole("listitem", { name: `Node ${node}` });
  await page.getByText("can lose 1").waitFor();
  await card("n1").getByText("equal").or(card("n1").getByText("not compared yet")).waitFor();
  const talk = await site.listenAs(2, carol);
  await card("n3").locator("dd").first().getByText("1", { exact: true }).waitFor();
  await shoot(page, "site");
  await act(page, card("n3").getByRole("button", { name: "Drain" }), "simpctl node drain n3", "Drain n3");
  await card("n3").getByText("draining").waitFor();
  await page.getByText("Degraded").first().waitFor();
  await page.getByText("it takes no clients: somebody drains it").waitFor();
  await shoot(page, "drain");
  await check(page, "a drain");
  talk.end();
  await card("n3").getByText("drained: it may be stopped").waitFor();
  await act(page, card("n3").getByRole("button", { name: "Take clients again" }), "simpctl node drain n3 --undo", "Take clients again");
  await card("n3").getByText("ready").waitFor();
  const follower = await card("n2").getByRole("button", { name: "Make it the leader" }).count() ? "n2" : "n3";
  await act(page, card(follower).getByRole("button", { name: "Make it the leader" }), `simpctl leader transfer ${follower}`, `Make ${follower} the leader`);
  await card(follower).getByText("leader").first().waitFor();
});

test("users: search, sessions, and everything that is done to them", async () => {
  const password = JSON.parse(simp(alice, "app", "add", "phone", "--output=json"));
  simp(alice, "key", "add", "laptop");
  const page = await signIn(0);
  await open(page, "Users");
  await page.getByRole("link", { name: carol }).waitFor();
  await page.getByLabel("Address starts with").fill("al");
  await page.getByRole("link", { name: carol }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: alice }).waitFor();
  const talk = await site.listenAs(1, alice);
  const row = page.getByRole("row", { name: alice });
  await row.getByText("available").waitFor();
  await row.getByRole("link").click();
  await page.getByRole("table", { name: "Sessions" }).getByText("n2", { exact: true }).waitFor();
  await shoot(page, "user");
  await act(page, page.getByRole("table", { name: "App passwords" }).getByRole("button", { name: "Remove" }), `simpctl account app remove ${alice} ${password.id}`, "Remove");
  await page.getByRole("region", { name: "App passwords" }).getByText("There are none.").waitFor();
  const key = page.getByRole("table", { name: "Keys" });
  const id = await key.locator("code").textContent();
  await act(page, key.getByRole("button", { name: "Revoke" }), `simpctl account key revoke ${alice} ${id}`, "Revoke");
  await key.getByText("by an operator").waitFor();
  await act(page, page.getByRole("table", { name: "Sessions" }).getByRole("button", { name: "Disconnect" }), `simpctl session kick ${await page.getByRole("table", { name: "Sessions" }).locator("td").first().textContent()}`, "Disconnect");
  await page.getByText("No session listens.").waitFor();
  talk.end();
  const again = await site.listenAs(0, alice);
  await page.getByRole("table", { name: "Sessions" }).waitFor();
  await act(page, page.getByRole("region", { name: "Account" }).getByRole("button", { name: "Disconnect" }), `simpctl session kick ${alice}`, "Disconnect");
  await page.getByText("No session listens.").waitFor();
  again.end();
  await act(page, page.getByRole("button", { name: "Disable" }), `simpctl account disable ${alice}`, "Disable");
  await page.getByRole("region", { name: "Account" }).getByText("disabled", { exact: true }).waitFor();
  await act(page, page.getByRole("button", { name: "Enable" }), `simpctl account enable ${alice}`, "Enable");
  await page.getByRole("region", { name: "Account" }).getByText("active", { exact: true }).waitFor();
});

test("presence and messages as they happen, and the audit log", async () => {
  const page = await signIn(0), watched = await signIn(1);
  await open(page, "Presence");
  const talk = await site.listenAs(2, carol);
  const row = page.getByRole("row", { name: carol }).first();
  await row.getByText("available").waitFor();
  await row.getByText("n3").waitFor();
  await page.getByLabel("Address contains").fill("bob");
  await page.getByRole("row", { name: carol }).waitFor({ state: "detached" });
  await open(watched, "Messages");
  const listening = site.simp(2, bob, "listen");
  await page.getByRole("row", { name: bob }).first().getByText("available").waitFor();
  await shoot(page, "presence");
  for (let i = 0; i < 20; i++) simp(alice, "send", bob, `message ${i}`);
  const delivered = watched.getByRole("row", { name: /^delivered/ });
  await delivered.getByText("20", { exact: true }).waitFor();
  await watched.getByRole("img", { name: /^delivered: .* at most [1-9]/ }).waitFor();
  await shoot(watched, "messages");
  listening.kill();
  talk.end();
  await open(page, "Audit");
  const done = page.getByRole("row", { name: /AccountService\/Disable/ });
  await done.getByText(alice).waitFor();
  await done.getByText("(console)").waitFor();
  await page.getByLabel("Of").selectOption("n2");
  await done.waitFor({ state: "detached" });
  await page.getByLabel("Of").selectOption("n1");
  await done.waitFor();
  await shoot(page, "audit");
});

test("abuse: what users report, and who is blocked", async () => {
  const page = await signIn(0);
  await open(page, "Abuse");
  await page.getByText("No report is open.").waitFor();
  await page.getByText("Nobody is blocked.").waitFor();
  const talk = await site.listenAs(1, alice);
  const entity = `Content-Type: text/html\r\n\r\n<img src=x onerror=alert(1)> ${"buy".repeat(200)} \u202e\r\n`;
  assert.equal(await talk.status(`4 REPORT ima=${bob} id=m1 reason=spam {${Buffer.byteLength(entity)}}\r\n${entity.slice(0, -2)}`), 200);
  assert.equal(await talk.status(`5 REPORT ima=${carol} reason=abuse :She shouts: <b>at me</b>`), 200);
  talk.end();
  const reports = page.getByRole("table", { name: "Reports" }), blocks = page.getByRole("table", { name: "Blocks" });
  const row = reports.getByRole("row", { name: bob });
  await row.getByText("not signed").waitFor();
  await reports.getByText("She shouts: <b>at me</b>").waitFor();
  assert.ok((await reports.getByRole("row").nth(1).textContent())?.includes(carol), "the newest is the first");
  await act(page, await fillBlock(page, "@spam.example", "it's spam", "for 30 days"), "simpctl block add --reason='it'\\''s spam' --expires=30d @spam.example", "Block");
  await blocks.getByRole("row", { name: "@spam.example" }).getByText("it's spam").waitFor();
  assert.equal(await page.getByLabel("Address, @domain or IP addresses").inputValue(), "", "the form is empty again");
  await checkSizes(page, "reports and blocks");
  await shoot(page, "abuse");

  await (await fillBlock(page, "nobody", "", "until it is removed")).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Block", exact: true }).click();
  await dialog.getByText("invalid target nobody").waitFor();
  await check(page, "a block that is refused");
  await dialog.getByRole("button", { name: "Cancel" }).click();

  const id = await row.getByRole("link").textContent();
  await row.getByRole("link").click();
  await page.getByRole("heading", { name: `Report ${id}` }).waitFor();
  await page.getByText("<img src=x onerror=alert(1)>").waitFor();
  await page.getByText("\u27e8U+202E\u27e9").waitFor();
  await page.getByText("The message is not signed: the reporter may have made it up").waitFor();
  assert.equal(await page.locator("main img").count(), 0, "what users wrote is shown as text");
  await checkSizes(page, "a report");
  await shoot(page, "report");
  await act(page, page.getByRole("button", { name: "Block the reported user" }), `simpctl block add --reason='report ${id}' ${bob}`, "Block");
  await page.getByLabel("What was done").fill("blocked");
  await act(page, page.getByRole("button", { name: "Resolve" }), `simpctl report resolve --text=blocked ${id}`, "Resolve");
  await page.getByText(/^Resolved .*: blocked$/).waitFor();
  await page.getByRole("button", { name: "Resolve" }).waitFor({ state: "hidden" });

  await page.getByRole("link", { name: "All reports and blocks" }).click();
  await reports.getByRole("row", { name: carol }).waitFor();
  assert.equal(await row.count(), 0, "what is resolved is not open");
  await page.getByLabel("Reports that are").selectOption("open and resolved");
  await row.getByText("resolved").waitFor();
  await page.getByLabel("Blocks that concern").fill(`somebody@spam.example`);
  await page.getByLabel("Blocks that concern").press("Enter");
  await blocks.getByRole("row", { name: bob }).waitFor({ state: "detached" });
  await act(page, blocks.getByRole("button", { name: "Remove" }), "simpctl block remove @spam.example", "Remove");
  await page.getByText("No block concerns that.").waitFor();
  await page.getByLabel("Blocks that concern").fill("nobody");
  await page.getByLabel("Blocks that concern").press("Enter");
  await page.getByText("invalid target nobody").waitFor();
  assert.match(await site.operate("block", "list"), /^TARGET.*\nbob@example.com .*report/);
  await site.operate("block", "remove", bob);
});

/** fillBlock fills in the form that blocks somebody, and returns its button. @param {Page} page @param {string} target @param {string} reason @param {string} life */
async function fillBlock(page, target, reason, life) {
  await page.getByLabel("Address, @domain or IP addresses").fill(target);
  await page.getByLabel("Why, for operators").fill(reason);
  await page.getByLabel("How long").selectOption(life);
  return page.getByRole("form", { name: "Block somebody" }).getByRole("button");
}

/** checkSizes is check in both colours, on a wide screen and at 320 px. @param {Page} page @param {string} what */
async function checkSizes(page, what) {
  for (const [colorScheme, width] of /** @type {const} */ ([["dark", 320], ["light", 320], ["dark", 1120], ["light", 1120]])) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 800 });
    await check(page, `${what}, ${colorScheme}, ${width} px`);
  }
}

test("hidden pages leave the connections to the one that is shown, and go on later", async () => {
  const pages = [await signIn(0)];
  const turn = (/** @type {Page} */ page, /** @type {boolean} */ hidden) => page.evaluate(value => {
    Object.defineProperty(document, "hidden", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  for (let i = 0; i < 5; i++) {
    await open(pages[i], "Users");
    await pages[i].getByRole("link", { name: alice }).waitFor();
    await turn(pages[i], true);
    const next = await pages[0].context().newPage();
    next.setDefaultTimeout(20_000);
    await next.goto(`http://${consoles[0]}/`);
    pages.push(next);
  }
  await turn(pages[5], true);
  await site.operate("account", "disable", bob);
  await turn(pages[0], false);
  await pages[0].getByRole("row").filter({ hasText: bob }).getByText("disabled").waitFor();
  await site.operate("account", "enable", bob);
  await pages[0].getByRole("row").filter({ hasText: bob }).getByText("disabled").waitFor({ state: "detached" });
});

test("other sites: a check says why there is none", async () => {
  const page = await signIn(0);
  await open(page, "Other sites");
  await page.getByText("This site has not dealt with another lately.").waitFor();
  await page.getByRole("textbox", { name: "Domain" }).fill("example.net");
  await page.getByRole("button", { name: "Check" }).click();
  await page.getByText("this node runs with --insecure").waitFor();
});

test("a page goes on at another node when its own is killed", async () => {
  const page = await signIn(0);
  await page.getByText("can lose 1").waitFor();
  await page.waitForFunction(() => fetch("/api/session").then(r => r.json()).then(s => s.others?.length === 2));
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange"))); // it renews the links
  await page.waitForTimeout(500);
  await site.kill(0);
  await page.getByText("n1 does not answer.").waitFor();
  await check(page, "a node that is gone");
  await shoot(page, "lost");
  await page.getByRole("link", { name: "n2" }).click();
  await page.getByRole("button", { name: "Continue on n2" }).waitFor();
  await check(page, "a hand-over");
  await page.getByRole("button", { name: "Continue on n2" }).click();
  await page.waitForURL(`http://${consoles[1]}/`);
  await page.getByText("Degraded").first().waitFor();
  await page.getByRole("listitem", { name: "Node n1" }).getByText("does not answer", { exact: true }).waitFor();
  await page.getByText("its users are deaf until they connect elsewhere").waitFor();
  await shoot(page, "degraded");

  const { stdout } = spawnSync(join(process.env.BIN ?? "bin", "simpctl"), ["--insecure", "--addr", `127.0.0.1:${site.nodes[2].grpc}`, "console", "--revoke"]);
  assert.match(String(stdout), /all sessions of consoles have ended/);
  await page.getByRole("heading", { name: "Your session has ended" }).waitFor();
  await check(page, "a session that has ended");
});
