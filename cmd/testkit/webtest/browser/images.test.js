// @ts-check
// The pictures of README, from a real page and from a frame of simp chat that
// its own tests compare.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import { Site, launch, open, openPage, outcome, send, signIn } from "./site.js";

const [alice, bob, carol, dave] = ["alice@example.com", "bob@example.com", "carol@example.com", "dave@example.com"];
const root = new URL("../../../../", import.meta.url), limit = 100 << 10;
const pathOf = (/** @type {string} */ path) => fileURLToPath(new URL(path, root));

const site = new Site();
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  browser = await launch();
  await site.start(1);
  mkdirSync(pathOf("docs/images"), { recursive: true });
});

after(async () => {
  await browser.close();
  await site.stop();
});

/** picture writes a picture of a page. @param {import("playwright-core").Page} page @param {string} name */
async function picture(page, name) {
  const path = pathOf(`docs/images/${name}.png`);
  await page.screenshot({ path, animations: "disabled", caret: "hide" });
  assert.ok(statSync(path).size <= limit, `${path} has ${statSync(path).size} octets`);
}

test("the web chat", async () => {
  const visit = async (/** @type {string} */ user) => {
    const { page } = await openPage(browser, site.nodes[0].page, { viewport: { width: 960, height: 600 }, reducedMotion: "reduce" });
    await signIn(page, user);
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    return page;
  };
  const a = await visit(alice), b = await visit(bob), c = await site.listenAs(0, carol);
  await c.status("4 STATE state=away note=\"back at two\"");
  await b.getByLabel("Your note").fill("at my desk");
  await b.getByLabel("Your note").press("Enter");
  await open(b, alice);
  for (const who of [dave, carol, bob]) await open(a, who);
  /** @param {import("playwright-core").Page} from @param {string} text */
  const say = async (from, text) => {
    await send(from, text);
    await outcome(from, text, "delivered");
  };
  await say(b, "Good morning! Did the train make it?");
  await a.getByRole("button", { name: "Keys", exact: true }).click();
  await a.getByRole("button", { name: "Mark as verified" }).click();
  await a.getByText("web chat, verified").waitFor();
  await a.getByRole("button", { name: "Close" }).click();
  await say(a, "It did. I am in the office at ten.");
  await say(b, "Shall we have lunch at noon? The place around the corner is open again.");
  await say(a, "With pleasure. I will ask Dave, too.");
  await open(a, dave);
  await send(a, "Lunch at noon?");
  await outcome(a, "Lunch at noon?", "not listening");
  await open(a, bob);
  await say(a, "He does not listen now. The page tells me when he does.");
  const message = "I have the tickets.", entity = `\r\n${message}`;
  assert.equal(await c.status(`5 SEND to=${alice} {${entity.length}}\r\n${entity}`), 200);
  await a.getByRole("listitem", { name: new RegExp(`^${carol}, .*, 1 unread`) }).waitFor();
  for (const one of await a.getByRole("button", { name: "Dismiss" }).all()) if (await one.isVisible()) await one.click();
  await a.getByRole("textbox", { name: "Message" }).fill("Then just the two of us");
  await a.evaluate(() => {
    document.querySelectorAll("time").forEach((one, i) => { one.textContent = `09:4${i + 1}`; });
    for (const one of document.querySelectorAll(".day")) one.textContent = "Monday, 30 November 2026";
    /** @type {HTMLElement} */ (document.activeElement).blur();
  });
  await a.mouse.move(0, 0);
  await picture(a, "web-chat");
  c.end();
});

/** spansOf returns a text with its escape sequences as pieces of one style. @param {string} text */
function spansOf(text) {
  const styles = /** @type {{ [code: string]: string }} */ ({ 1: "font-weight: 700", 2: "opacity: .6", 7: "background: #d8dee9; color: #1d2128", 31: "color: #ff9d90", 32: "color: #86d998", 33: "color: #f0bd6a", 36: "color: #63cdb9" });
  let style = "";
  return text.split(/(\x1b\[[0-9;]*m)/).flatMap(piece => {
    const code = /^\x1b\[([0-9;]*)m$/.exec(piece)?.[1];
    if (code === undefined) return piece ? [{ text: piece, style }] : [];
    style = code === "" || code === "0" ? "" : [style, ...code.split(";").map(one => styles[one] ?? "")].filter(Boolean).join("; ");
    return [];
  });
}

test("the terminal chat", async () => {
  const frame = readFileSync(pathOf("cmd/simp/internal/chat/screen/testdata/readme-80x18.ansi"), "utf8").trimEnd();
  const page = await browser.newPage({ viewport: { width: 720, height: 420 } });
  await page.setContent(`<body style="margin: 0; background: #1d2128; color: #e5e9f0"><pre style="margin: 16px; font: 14px/20px 'DejaVu Sans Mono', monospace"></pre>`);
  await page.evaluate(spans => {
    for (const { text, style } of spans) {
      const span = document.createElement("span");
      span.textContent = text;
      span.style.cssText = style;
      document.querySelector("pre")?.append(span);
    }
  }, spansOf(frame));
  const box = await page.locator("pre").boundingBox();
  await page.setViewportSize({ width: 720, height: Math.ceil((box?.height ?? 360) + 32) });
  await picture(page, "simp-chat");
});
